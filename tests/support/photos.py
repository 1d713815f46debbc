"""Photo files and banks for tests: renders of the parts world, saved as people save photos."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml
from PIL import Image

from seedbank.bank import Bank
from seedbank.references.intake.outcomes import IntakeReport
from seedbank.settings import Settings
from support.profiles import write_profiles

Take = Callable[..., IntakeReport]
"""Takes a folder of photos into a bank."""

RIGHTS: dict[str, object] = {
    "licence": "CC-BY-4.0",
    "source": "own workshop",
    "cleared_by": "dana",
    "cleared_on": "2026-01-05",
    "purpose": ["synthetic-release"],
}


def photo(kind: str = "wingnut", index: int = 0, size: int = 160) -> Image.Image:
    """A render of a part; the same kind and index always give the same one."""
    return _render(kind, index, size).copy()


@cache
def _render(kind: str, index: int, size: int) -> Image.Image:
    """Kept: tests ask for the same few again and again, and the large ones take a second."""
    from seedbank.models.parts.world import generator, render  # imports torch, which not every test needs

    return render(kind, generator(4711, kind, index), size)


def face(size: int = 256) -> Image.Image:
    """A real photo of a person: NASA's portrait of Eileen Collins, which ships with scikit-image and is in the public domain."""
    from skimage.data import astronaut

    return Image.fromarray(astronaut()).resize((size, size), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def put(folder: Path, name: str, data: bytes, rights: object = RIGHTS) -> Path:
    """Write a photo and, unless ``rights`` is None, its sidecar."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    if rights is not None:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(rights), encoding="utf-8")
    return folder / name


def make_bank(folder: Path, **concepts: dict[str, object]) -> Bank:
    """A bank on an empty local store with these concepts, each with its policy."""
    (folder / "concepts").mkdir(exist_ok=True)
    write_profiles(folder / "models")
    for name, policy in concepts.items():
        values = {"name": name, "prompt": f"a photo of a {name}", "owner": "mia", "policy": policy}
        (folder / "concepts" / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    env = {
        "SEEDBANK_HOME": str(folder / "home"),
        "SEEDBANK_CONCEPTS": str(folder / "concepts"),
        "SEEDBANK_MODELS": str(folder / "models"),
        "SEEDBANK_ACTOR": "cli:test",
    }
    return Bank.open(Settings.from_env(env))
