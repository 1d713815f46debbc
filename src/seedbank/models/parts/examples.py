"""Example photos of the rare kinds, as they would arrive in an intake bucket: mostly good, some not.

::

    python -m seedbank.models.parts.examples --out examples/photos

Everything is drawn from `PHOTO_SEED`, which no training or test set uses. File names of bad photos say what is wrong with them.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from seedbank.models.parts.data import PHOTO_SEED
from seedbank.models.parts.world import KINDS, generator, render

RARE = KINDS[-9:]
GOOD = 9
EVERYTHING_WRONG = ("hook", "clover")
SIBLINGS = {
    "wrench": "rod",
    "trinut": "hexnut",
    "hook": "bracket",
    "crank": "rod",
    "cross": "tee",
    "clover": "washer",
    "starknob": "gear",
    "wingnut": "hexnut",
    "impeller": "gear",
}
RIGHTS = """\
licence: CC-BY-4.0
source: "parts world, seed {seed}"
cleared_by: steward@example.com
cleared_on: 2026-11-02
expires: 2031-11-02
purpose: [seed-selection, synthetic-release]
identifiable_people: false
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one folder of photos per rare kind."""
    parser = argparse.ArgumentParser(prog="python -m seedbank.models.parts.examples", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="*", default=RARE)
    options = parser.parse_args(arguments)
    for kind in options.kinds:
        for name, content in intake_folder(kind).items():
            path = options.out / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def intake_folder(kind: str) -> dict[str, bytes]:
    """File name to content of one kind's intake: `GOOD` clean photos, bad ones, and the rights of all that have any."""
    photos = {_name(kind, i): encode(photo(kind, i), _name(kind, i)) for i in range(1, GOOD + 1)}
    photos |= _bad_photos(kind, photos)
    rights = RIGHTS.format(seed=PHOTO_SEED).encode()
    sidecars = {f"{name}.yaml": rights for name in photos if not name.startswith("no-rights")}
    return dict(sorted((photos | sidecars).items()))


def photo(kind: str, index: int) -> Image.Image:
    """Photo number `index` of a kind, 384 to 640 pixels wide."""
    side = int(np.random.default_rng([PHOTO_SEED, KINDS.index(kind), index, 1]).choice([384, 448, 512, 512, 640]))
    return render(kind, generator(PHOTO_SEED, kind, index), side).filter(ImageFilter.GaussianBlur(0.6))


def encode(image: Image.Image, name: str, quality: int = 90) -> bytes:
    """The image as a file of the format its name ends in."""
    buffer = io.BytesIO()
    formats = {"jpg": "JPEG", "webp": "WEBP", "png": "PNG"}
    image.save(buffer, formats[name.rsplit(".", 1)[1]], quality=quality, optimize=True)
    return buffer.getvalue()


def _name(kind: str, index: int) -> str:
    """Most photos are JPEG, one per kind is WebP, and the first of every third kind is PNG."""
    suffix = "webp" if index == 4 else "png" if index == 1 and KINDS.index(kind) % 3 == 0 else "jpg"
    return f"photo-{index:02d}.{suffix}"


def _bad_photos(kind: str, photos: dict[str, bytes]) -> dict[str, bytes]:
    blurred = photo(kind, 20).filter(ImageFilter.GaussianBlur(9))
    bad = {"blurred-01.jpg": encode(blurred, "blurred-01.jpg")}
    if kind not in EVERYTHING_WRONG:
        return bad
    sibling = photo(SIBLINGS[kind], 21)
    whole = encode(photo(kind, 22), "corrupt-01.jpg")
    near = photo(kind, 5)
    edge = near.width // 40
    return bad | {
        "tiny-01.jpg": encode(photo(kind, 23).resize((40, 40)), "tiny-01.jpg"),
        "duplicate-of-photo-03.jpg": photos["photo-03.jpg"],
        "near-duplicate-of-photo-05.jpg": encode(
            near.crop((edge, edge, near.width - edge, near.height - edge)), "near.jpg", quality=80
        ),
        "wrong-part-01.jpg": encode(sibling, "wrong-part-01.jpg"),
        "corrupt-01.jpg": whole[: len(whole) // 3],
        "no-rights-01.jpg": encode(photo(kind, 24), "no-rights-01.jpg"),
    }


if __name__ == "__main__":
    main()
