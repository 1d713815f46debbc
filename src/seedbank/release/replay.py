"""Replay: the images of a release drawn again from their seeds, and compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seedbank.errors import VerificationError
from seedbank.release.records import MANIFEST, Manifest, ReleasedImage
from seedbank.release.software import differences, software
from seedbank.release.verify import Files, read_folder
from seedbank.selection.seeds import Seed
from seedbank.storage.images import pixel_digest
from seedbank.trials.images import decode


@dataclass(frozen=True)
class Replayed:
    """One image drawn again."""

    file: str
    equal: bool
    difference: int
    """The largest difference of any channel of any pixel, 0..255."""


@dataclass(frozen=True)
class ReplayReport:
    """What came of drawing a release again."""

    images: tuple[Replayed, ...]
    differences: tuple[str, ...]
    """What of the software differs from where it was published, in plain words."""

    @property
    def equal(self) -> bool:
        """Whether every image came out the same, pixel by pixel."""
        return all(image.equal for image in self.images)

    def explain(self) -> str:
        """In one sentence, what the result means."""
        if self.equal:
            return f"{len(self.images)} images drawn again, every pixel the same"
        worst = max(image.difference for image in self.images)
        count = sum(not image.equal for image in self.images)
        if self.differences:
            return (
                f"{count} of {len(self.images)} images differ by up to {worst} of 255; this is another stack "
                f"({'; '.join(self.differences)}): small differences come from it, large ones do not"
            )
        return (
            f"{count} of {len(self.images)} images differ by up to {worst} of 255 on the same software; differences of 1 or 2 come "
            "from another processor, larger ones mean that these seeds did not draw these images"
        )


def replay_release(
    folder: Path, *, model: str | None = None, progress: Callable[[int, int], None] | None = None
) -> ReplayReport:
    """Draw the images of the release in ``folder`` again. Does not check signatures; :func:`~seedbank.release.verify_release` does.

    Args:
        folder: the release.
        model: where its model is, if not where the manifest says; it must have the same digest.
        progress: told images done, and images in all.

    Raises:
        UsageError: no such folder or model.
        VerificationError: the folder is no release, or the model is not the one that drew it.
    """
    return replay_files(read_folder(folder), model=model, progress=progress)


def replay_files(
    files: Files, *, model: str | None = None, progress: Callable[[int, int], None] | None = None
) -> ReplayReport:
    """The same for the files of a release, wherever they were read from."""
    if MANIFEST not in files:
        raise VerificationError(f"expected {MANIFEST} in the release, it is missing; get the release again")
    manifest = Manifest.from_bytes(files[MANIFEST])
    draw = _drawer(manifest, model)
    images = []
    for item in manifest.images:
        images.append(_compare(files, item, draw))
        if progress:
            progress(len(images), len(manifest.images))
    return ReplayReport(tuple(images), tuple(differences(manifest.software, software())))


def _drawer(manifest: Manifest, model: str | None) -> Callable[[Seed], np.ndarray]:
    import torch

    from seedbank.models import load_pipeline
    from seedbank.selection.sampling.noise import stacked
    from seedbank.selection.sampling.sampler import make_sampler

    loaded = load_pipeline(model or _source(manifest), dtype=getattr(torch, manifest.sampler.dtype))
    if loaded.card.content != manifest.model.content:
        raise VerificationError(
            f"expected the model with files {manifest.model.content[:12]}, got {loaded.card.content[:12]}; these seeds mean nothing to "
            "another model. Name the right one with --model"
        )
    sampler = make_sampler(loaded.pipeline, manifest.prompt, manifest.sampler)
    return lambda seed: sampler.draw(stacked([seed]))[0]


def _source(manifest: Manifest) -> str:
    card = manifest.model
    if card.source == "folder":
        raise VerificationError(f"the model {card.name!r} was a local folder; say where it is with --model")
    return card.source


def _compare(files: Files, item: ReleasedImage, draw: Callable[[Seed], np.ndarray]) -> Replayed:
    try:
        seed, published = Seed.from_safetensors(files[item.seed_file]), np.asarray(decode(files[item.file]))
    except KeyError as error:
        raise VerificationError(
            f"expected {error.args[0]} in the release, it is missing; get the release again"
        ) from None
    if seed.digest != item.candidate.seed:
        raise VerificationError(
            f"{item.seed_file} is not the seed of the manifest; run `seedbank verify` on the release"
        )
    drawn = draw(seed)
    same = drawn.shape == published.shape
    worst = int(np.abs(drawn.astype(int) - published.astype(int)).max()) if same else 255
    return Replayed(item.file, equal=pixel_digest(drawn) == item.candidate.pixels and worst == 0, difference=worst)
