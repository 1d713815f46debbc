"""Replay: the images of a release drawn again from their seeds, and compared pixel by pixel.

Two images are **equal** within one level of 255. A sum of floating-point numbers is rounded after each addition, so its last bits depend
on the order, which follows the number of threads, the processor's instructions and the versions of the libraries; a value between two
levels then falls on either side. Anything more has another cause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedbank.errors import VerificationError
from seedbank.models.recorded import recorded_sampler
from seedbank.models.software import differences, drawing_software
from seedbank.release.records import MANIFEST, Manifest, ReleasedImage
from seedbank.release.verify import Files, read_folder
from seedbank.selection.seeds import Seed
from seedbank.storage.images import pixel_digest
from seedbank.trials.images import decode

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEVEL = 1
"""Of 255: the largest difference between images that count as equal."""


@dataclass(frozen=True)
class Replayed:
    """One image drawn again."""

    file: str
    approved: bool
    """Whether the published file has the pixels that the manifest names."""
    difference: int
    """The largest difference of any channel of any pixel, 0..255."""

    @property
    def exact(self) -> bool:
        """Whether every value is the same."""
        return self.approved and self.difference == 0

    @property
    def equal(self) -> bool:
        """Whether it is the published image, within one level."""
        return self.approved and self.difference <= LEVEL


@dataclass(frozen=True)
class ReplayReport:
    """What came of drawing a release again."""

    images: tuple[Replayed, ...]
    differences: tuple[str, ...]
    """What differs from where the images were drawn first (versions, processor, threads), in plain words."""

    @property
    def equal(self) -> bool:
        """Whether every image came out the same, within one level."""
        return all(image.equal for image in self.images)

    @property
    def exact(self) -> int:
        """How many came out the same to the last bit."""
        return sum(image.exact for image in self.images)

    def explain(self) -> str:
        """In one sentence, what the result means."""
        count, exact = len(self.images), self.exact
        cause = "; ".join(self.differences)
        if exact == count:
            return f"{count} images drawn again, every pixel the same"
        if self.equal:
            return (
                f"{count} images drawn again and equal: {exact} to the last bit, {count - exact} within one level of 255, as sums that are "
                f"rounded in another order give ({cause or 'nothing that is recorded differs'})"
            )
        worst = max(image.difference for image in self.images)
        unequal = sum(not image.equal for image in self.images)
        found = f"{unequal} of {count} images are not equal, the worst differs by {worst} of 255"
        # Some file itself is not the approved one, however close what was drawn comes to it.
        if unequal > sum(image.difference > LEVEL for image in self.images):
            return f"{found}; a published file does not have the pixels that were approved: run `seedbank verify` on the release"
        if self.differences:
            return (
                f"{found}; this is another stack ({cause}): a few levels can come from it; replay with what the manifest names, and if it "
                "still differs, these seeds did not draw these images"
            )
        return f"{found}, with the same versions, processor and threads: these seeds did not draw these images"


def replay_release(
    folder: Path,
    *,
    model: str | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Draw the images of the release in ``folder`` again. Does not check signatures; :func:`~seedbank.release.verify_release` does.

    Args:
        folder: the release.
        model: where its model is, if not where the manifest says; it must have the same digest.
        device: where to draw; None is the CPU.
        progress: told images done, and images in all.

    Raises:
        UsageError: no such folder or model, or a model in a local folder that nobody names.
        VerificationError: the folder is no release, or the model is not the one that drew it.
    """
    return replay_files(read_folder(folder), model=model, device=device, progress=progress)


def replay_files(
    files: Files,
    *,
    model: str | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """The same for the files of a release, wherever they were read from."""
    from seedbank.models.placing import decoding

    if MANIFEST not in files:
        raise VerificationError(f"expected {MANIFEST} in the release, it is missing; get the release again")
    manifest = Manifest.from_bytes(files[MANIFEST])
    published = [_read(files, item) for item in manifest.images]
    sampler = recorded_sampler(
        manifest.model, prompt=manifest.prompt, config=manifest.sampler, source=model, device=device
    )
    # In the batches of the trial: another size sums in another order.
    size, images = sampler.config.batch_size, list[Replayed]()
    for first in range(0, len(published), size):
        batch = published[first : first + size]
        drawn = sampler.draw(_noise([item.seed for item in batch]))
        images += [_compare(item, pixels) for item, pixels in zip(batch, drawn, strict=True)]
        if progress:
            progress(len(images), len(published))
    now = drawing_software(sampler.family.device) | decoding(sampler.family.pipeline)
    return ReplayReport(tuple(images), tuple(differences(manifest.software, now)))


def _noise(seeds: list[Seed]) -> Tensor:
    from seedbank.selection.sampling.noise import stacked

    return stacked(seeds)


@dataclass(frozen=True)
class _Published:
    """A released image and its seed, as their files have them."""

    item: ReleasedImage
    seed: Seed
    pixels: np.ndarray


def _read(files: Files, item: ReleasedImage) -> _Published:
    try:
        seed, pixels = Seed.from_safetensors(files[item.seed_file]), np.asarray(decode(files[item.file]))
    except KeyError as error:
        raise VerificationError(
            f"expected {error.args[0]} in the release, it is missing; get the release again"
        ) from None
    if seed.digest != item.candidate.seed:
        raise VerificationError(
            f"{item.seed_file} is not the seed of the manifest; run `seedbank verify` on the release"
        )
    return _Published(item, seed, pixels)


def _compare(published: _Published, drawn: np.ndarray) -> Replayed:
    same = drawn.shape == published.pixels.shape
    # As int, for differences of uint8 wrap around.
    worst = int(np.abs(drawn.astype(int) - published.pixels.astype(int)).max()) if same else 255
    approved = pixel_digest(published.pixels) == published.item.candidate.pixels
    return Replayed(published.item.file, approved=approved, difference=worst)
