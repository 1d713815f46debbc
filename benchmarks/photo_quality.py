"""How often a rule on one photo's quality is right, on a folder of real photographs, as a person sees them.

Every photo is measured as intake measures it, and the quality rules of the shipped policy judge it. Which of those that broke a rule did
so rightly only a person can say: ``--sheets`` draws the hits of each rule, with the first digits of their digests, and what was seen is
written by hand into the results, ``seen: {column: {digest: true or false}}``, from where the next run takes it over. Besides, a sample of
the photos is blurred, to see how many the bound on sharpness finds.

No photo is kept: the results hold the first 16 digits of each one's SHA-256. What they hold was measured on the thousand photographs of
the repository EliSchwartz/imagenet-sample-images on GitHub, one of each class of ImageNet.
Writes ``results/photo_quality.json`` and ``.md``.

    python benchmarks/photo_quality.py FOLDER
    python benchmarks/photo_quality.py FOLDER --sheets /tmp/sheets
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seedbank.concepts import Policy
from seedbank.references.judging.suites import Rule, photo_suite
from seedbank.references.measures.catalogue import PHOTO
from seedbank.references.measures.photo import ScaledPhoto, measure

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "photo_quality.json"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
BLURRED, BLUR_SIDE = 120, 384
"""Photos that are blurred, and the longer side at which they are."""
RADII = (1, 2, 3, 4)
TILE = 240


@dataclass(frozen=True)
class Photo:
    """A photo of the folder: where it is, the first digits of its digest, what it measures."""

    path: Path
    digest: str
    measures: Mapping[str, float]


def main() -> None:
    """Measure, judge and write."""
    options = _options()
    photos = [read(path) for path in sorted(Path(options.folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["seen"] if RESULTS.exists() else {}
    found = {f"{rule.column} {_bound(rule)}": hits(rule, photos) for rule in rules()}
    if options.sheets:
        for name, hit in found.items():
            draw_sheet(hit, name, Path(options.sheets))
    write(photos, found, known, Path(options.out))


def rules() -> list[Rule]:
    """The bounds of the shipped policy on what is measured about one photo by itself."""
    names = [item.name for item in PHOTO]
    suite = photo_suite(Policy())
    return [rule for name in names for rule in suite.bounds(name)]


def read(path: Path) -> Photo:
    """Measure one photo."""
    data = path.read_bytes()
    with Image.open(path) as image:
        measures = measure(image.convert("RGB"), data)
    return Photo(path, hashlib.sha256(data).hexdigest()[:16], measures)


def hits(rule: Rule, photos: Sequence[Photo]) -> list[Photo]:
    """The photos that break a rule, worst first; what could not be measured (NaN) breaks none."""
    broken = [photo for photo in photos if rule.shortfall(photo.measures[rule.column]) > 0]
    return sorted(broken, key=lambda photo: -rule.shortfall(photo.measures[rule.column]))


def blurred(photos: Sequence[Photo], least: float) -> dict[str, float]:
    """Share of a sample that measures less than ``least`` in sharpness, by the radius in pixels of the blur."""
    large = [photo for photo in photos if photo.measures["min_side_px"] >= BLUR_SIDE * 0.75]
    sample = sorted(large, key=lambda photo: photo.digest)[:BLURRED]
    return {
        str(radius): round(float(np.mean([_sharpness(photo, radius) < least for photo in sample])), 3)
        for radius in RADII
    }


def _sharpness(photo: Photo, radius: int) -> float:
    with Image.open(photo.path) as image:
        small = image.convert("RGB")
        small.thumbnail((BLUR_SIDE, BLUR_SIDE))
    return float(ScaledPhoto.of(small.filter(ImageFilter.GaussianBlur(radius))).detail.var())


def draw_sheet(photos: Sequence[Photo], name: str, folder: Path) -> None:
    """The photos side by side, each with the digits by which it is named."""
    if not photos:
        return
    columns = 6
    sheet = Image.new("RGB", (columns * TILE, -(-len(photos) // columns) * (TILE + 14)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, photo in enumerate(photos):
        left, top = number % columns * TILE, number // columns * (TILE + 14)
        with Image.open(photo.path) as image:
            small = image.convert("RGB")
        small.thumbnail((TILE - 8, TILE - 8))
        pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill="#ccffee")
        sheet.paste(small, (left + 4, top + 4))
        pen.text((left + 4, top + TILE), photo.digest, fill="red")
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(
        folder / f"{name.split()[0]}-{name.split()[1]}.png".replace("=", "").replace("<", "max").replace(">", "min")
    )


def write(photos: Sequence[Photo], found: Mapping[str, Sequence[Photo]], known: Mapping[str, Any], out: Path) -> None:
    """Both files."""
    least = Policy().quality.min_sharpness
    share = blurred(photos, least)
    rows = []
    for name, hit in found.items():
        seen = known.get(name.split()[0], {})
        looked = [seen[photo.digest] for photo in hit if photo.digest in seen]
        rows.append(
            {
                "rule": name,
                "hits": len(hit),
                "looked_at": len(looked),
                "right": sum(looked),
                "photos": [photo.digest for photo in hit],
            }
        )
    values = {
        "photos": len(photos),
        "rules": rows,
        "blurred": share,
        "seen": known,
        "digests": sorted(photo.digest for photo in photos),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS.name).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"{len(photos):,} public photographs, one of each class of ImageNet; `right` is how many of the hits a person called right.",
        "",
        "| rule | hits | looked at | right |",
        "|---|---|---|---|",
        *(f"| {row['rule']} | {row['hits']} | {row['looked_at']} | {row['right']} |" for row in rows),
        "",
        f"Of {BLURRED} of them, blurred with the longer side at {BLUR_SIDE} pixels, these measure less than {least:g} in sharpness: "
        + ", ".join(f"{part:.0%} at {radius} px" for radius, part in share.items())
        + ".",
    ]
    (out / RESULTS.with_suffix(".md").name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _bound(rule: Rule) -> str:
    return f">= {rule.minimum:g}" if rule.minimum is not None else f"<= {rule.maximum:g}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="photographs, in any folders below")
    parser.add_argument("--sheets", help="folder for a sheet of the hits of each rule")
    parser.add_argument("--out", default=str(RESULTS.parent))
    return parser.parse_args()


if __name__ == "__main__":
    main()
