"""Contact sheets: pictures in labelled rows on one PNG, the same on every machine (Pillow's own font)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

COLUMNS = 8
"""Pictures in a row; more go to the next one."""
MIN_COLUMNS = 5
"""A sheet is at least this wide, so that its title fits."""
TILE = 192
"""Side of a picture's cell in pixels: three times the shipped model's 64."""

_GAP, _MARGIN, _LINE = 12, 28, 17
_PAPER, _INK, _FAINT, _RULE, _GOOD, _NOTE = "#ffffff", "#1b1f24", "#667085", "#e4e7ec", "#2f855a", "#9a5b00"
_TITLE, _HEAD, _TEXT = 26, 17, 13


@dataclass(frozen=True)
class Tile:
    """A picture with up to a few lines under it; ``good`` frames it in green."""

    image: Image.Image
    caption: tuple[str, ...] = ()
    good: bool = False


@dataclass(frozen=True)
class SheetRow:
    """A labelled row of pictures; ``note`` is printed beside the label."""

    title: str
    tiles: Sequence[Tile]
    note: str = ""

    @property
    def lines(self) -> int:
        """Caption lines that the row makes room for."""
        return max((len(tile.caption) for tile in self.tiles), default=0)

    def split(self) -> list[SheetRow]:
        """This row in pieces that fit on the sheet."""
        starts = range(0, len(self.tiles), COLUMNS)
        return [
            SheetRow(
                self.title if not start else "", self.tiles[start : start + COLUMNS], self.note if not start else ""
            )
            for start in starts
        ]


def contact_sheet(
    title: str, rows: Sequence[SheetRow], *, subtitle: str = "", notes: Sequence[str] = ()
) -> Image.Image:
    """Draw ``rows`` under a title; rows without pictures are left out and long ones wrapped.

    Args:
        title: one line, large.
        rows: from top to bottom.
        subtitle: one line under the title.
        notes: what a reader must not miss, one line each, printed before the pictures.
    """
    pieces = [piece for row in rows for piece in row.split()]
    columns = max(MIN_COLUMNS, *(len(piece.tiles) for piece in pieces), 0)
    width = 2 * _MARGIN + columns * TILE + (columns - 1) * _GAP
    lines = [line for note in notes for line in _wrap("!  " + note, width - 2 * _MARGIN)]
    # Upper edges: of the first row, below title, subtitle and notes, then of each next one; the last is the lower end.
    tops = [_MARGIN + _TITLE + 14 + (_LINE + 8 if subtitle else 0) + _LINE * len(lines) + (16 if lines else 4)]
    for piece in pieces:
        tops.append(tops[-1] + _height(piece))
    sheet = Image.new("RGB", (width, tops[-1] + _MARGIN - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, _font(_TITLE))
    draw.text((_MARGIN, _MARGIN + _TITLE + 12), subtitle, _FAINT, _font(_TEXT))
    for number, line in enumerate(lines, start=1):
        draw.text((_MARGIN, tops[0] - 16 - _LINE * (len(lines) - number + 1)), line, _NOTE, _font(_TEXT))
    for piece, (top, _) in zip(pieces, pairwise(tops), strict=True):
        _draw_row(sheet, draw, piece, top)
    return sheet


def to_png(image: Image.Image) -> bytes:
    """``image`` as a PNG file; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, top: int) -> None:
    if row.title:
        draw.line((_MARGIN, top, sheet.width - _MARGIN, top), _RULE)
        draw.text((_MARGIN, top + 12), row.title, _INK, _font(_HEAD))
        left = _MARGIN + draw.textlength(row.title, _font(_HEAD)) + 14
        draw.text((left, top + 16), row.note, _FAINT, _font(_TEXT))
        top += _HEAD + 26
    for column, tile in enumerate(row.tiles):
        left = _MARGIN + column * (TILE + _GAP)
        image = fit(tile.image, TILE)
        sheet.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
        if tile.good:
            draw.rectangle((left - 3, top - 3, left + TILE + 2, top + TILE + 2), outline=_GOOD, width=3)
        for number, line in enumerate(tile.caption):
            text, ink = _shorten(line, TILE), _INK if number == 0 else _FAINT
            draw.text((left, top + TILE + 7 + number * _LINE), text, ink, _font(_TEXT))


def _height(row: SheetRow) -> int:
    return (_HEAD + 26 if row.title else 0) + TILE + 7 + row.lines * _LINE + 2 * _GAP


def fit(image: Image.Image, side: int) -> Image.Image:
    """``image`` scaled so that its longer side is ``side`` pixels."""
    # Small images are scaled up too, to fill their cells.
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shorten(text: str, width: int) -> str:
    if _font(_TEXT).getlength(text) <= width:
        return text
    while text and _font(_TEXT).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _wrap(text: str, width: int) -> list[str]:
    """``text`` in lines that are at most ``width`` pixels long."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _font(_TEXT).getlength(longer) > width:
            # Indented, so that a wrapped note is not taken for a new one.
            lines.append("     " + word)
        else:
            lines[-1] = longer
    return lines
