"""Contact sheets: rows of small pictures with a label, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seedbank.models.parts.data import PHOTO_SEED, Images
from seedbank.models.parts.world import KINDS, MISUSES, frequencies, generator, lookalike, render

GAP, MARGIN = 3, 132
INK, PAPER, WRONG = (40, 40, 40), (255, 255, 255), (214, 48, 49)


@dataclass(frozen=True)
class SheetRow:
    """One line of a sheet: what it shows, its pictures, and which of them get a red frame."""

    label: str
    images: Images
    wrong: Sequence[bool] = ()


def sheet(rows: Sequence[SheetRow], zoom: int = 1) -> Image.Image:
    """The rows under one another, labels on the left, pictures enlarged `zoom` times."""
    tile = rows[0].images.shape[1] * zoom
    columns = max(len(row.images) for row in rows)
    page = Image.new("RGB", (MARGIN + columns * (tile + GAP) + GAP, len(rows) * (tile + GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for i, row in enumerate(rows):
        top = GAP + i * (tile + GAP)
        draw.multiline_text((8, top + tile // 2), row.label, INK, font, anchor="lm")
        for j, pixels in enumerate(row.images):
            left = MARGIN + j * (tile + GAP)
            page.paste(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.LANCZOS), (left, top))
            if j < len(row.wrong) and row.wrong[j]:
                draw.rectangle((left - 1, top - 1, left + tile, top + tile), outline=WRONG, width=2)
    return page


def world_sheet(columns: int = 6, size: int = 132) -> Image.Image:
    """A large photo of every kind, with how many of it the model was shown, and of the look-alikes, with what their captions say."""
    counts = frequencies()
    tiles = [(kind, f"{kind} · {count}") for kind, count in counts.items()]
    tiles += [(name, f"“{kind}” · {MISUSES}") for kind in KINDS if (name := lookalike(kind))]
    lines = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * (size + GAP) + GAP, lines * (size + 22 + GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for i, (part, label) in enumerate(tiles):
        left, top = GAP + i % columns * (size + GAP), GAP + i // columns * (size + 22 + GAP)
        page.paste(render(part, generator(PHOTO_SEED, part, 100), size), (left, top))
        draw.text((left + size // 2, top + size + 10), label, INK, font, anchor="mm")
    return page


def plain_sheet(samples: Mapping[str, Images], names: Mapping[str, Sequence[str]], columns: int = 12) -> Image.Image:
    """What the first plain seeds give for each kind or prompt; what the auditor does not call by that name has a red frame."""
    counts = frequencies()
    rows = []
    for wanted, images in samples.items():
        share = np.mean([name == wanted for name in names[wanted]])
        label = f"{wanted}\n{counts[wanted]} shown\n{share:.0%} right" if wanted in counts else f"{wanted}\nnever shown"
        rows.append(SheetRow(label, images[:columns], [name != wanted for name in names[wanted][:columns]]))
    return sheet(rows)
