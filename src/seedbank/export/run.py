"""The export stage: a found seed into a folder for one tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seedbank.errors import OutsideError, UsageError
from seedbank.export.files import ModelFolder, Package, read_model_folder
from seedbank.export.for_a1111 import for_a1111, integer_of
from seedbank.export.for_comfyui import for_comfyui
from seedbank.export.for_diffusers import for_diffusers

if TYPE_CHECKING:
    from seedbank.export.finds import FoundSeed
    from seedbank.selection.sampling.sampler import Sampler

Tool = Literal["diffusers", "comfyui", "a1111"]
TOOLS: dict[Tool, Callable[[FoundSeed, Sampler, ModelFolder], Package]] = {
    "diffusers": for_diffusers,
    "comfyui": for_comfyui,
    "a1111": for_a1111,
}
UNREVIEWED = "nobody has approved this image for publication; what was approved is in a release"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        package: the files, with what to do with them.
    """

    folder: Path
    package: Package


def export_seed(found: FoundSeed, tool: Tool, folder: Path, *, model: str | None = None) -> Exported:
    """Write what ``tool`` takes to draw a seed into ``folder``. Files of the same names are replaced.

    Args:
        found: the seed.
        tool: for whom.
        folder: where; made if it is not there.
        model: where the model is, if not where the record says.

    Raises:
        UsageError: a model whose place nobody knows, or a seed of another shape than the model's.
        RefusedError: the tool cannot draw the same image; the message says why.
        VerificationError: the model is not the one that drew it.
        OutsideError: the folder cannot be written.
    """
    if tool == "a1111":
        integer_of(found.seed)  # before a model is loaded only to hear no
    package = TOOLS[tool](found, *_loaded(found, model))
    if not found.released:
        package = Package(package.files, (*package.notes, UNREVIEWED), package.settings)
    _write(package, folder)
    return Exported(folder, package)


def _loaded(found: FoundSeed, model: str | None) -> tuple[Sampler, ModelFolder]:
    from seedbank.models.files import find_model
    from seedbank.models.recorded import recorded_sampler
    from seedbank.models.weights import PIPELINE

    # Loaded and not just looked up, so that nothing is exported for files that are not those that drew the image.
    sampler = recorded_sampler(found.model, prompt=found.prompt, config=found.sampler, source=model)
    if found.seed.latents.shape != sampler.noise_shape:
        raise UsageError(
            f"expected a seed of shape {sampler.noise_shape}, got {found.seed.latents.shape}; name the model that it was found with"
        )
    path = find_model(model or found.model.source, PIPELINE, precision=found.sampler.dtype)
    return sampler, read_model_folder(path, named=model is not None)


def _write(package: Package, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in package.files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise OutsideError(
            f"expected a folder to write to, got {folder} ({error.strerror}); name another with --out"
        ) from error
