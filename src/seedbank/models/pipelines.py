"""Diffusion pipelines, loaded as they are: nothing here changes a weight."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from seedbank.errors import UsageError
from seedbank.models.card import ModelCard
from seedbank.models.files import describe, find_model, quiet
from seedbank.models.placing import ASSUMED_JUDGES, place_model
from seedbank.models.weights import FULL, HALF, INDEX, PICKLES, PIPELINE, SAMPLING, UNUSED, form_of, parts_of
from seedbank.selection.records import SamplerConfig


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline ready to sample, what it is, and how it is meant to be sampled."""

    pipeline: Any
    """A diffusers pipeline in evaluation mode, no parameter asking for a gradient, with a scheduler that is supported."""
    card: ModelCard
    sampler: SamplerConfig
    notes: tuple[str, ...] = ()
    """What is not as the repository ships it, and why."""

    @property
    def device(self) -> torch.device:
        """Where its denoising network is."""
        from seedbank.selection.sampling.families import adapt

        return adapt(self.pipeline).device


CPU = torch.device("cpu")


def load_pipeline(model: str, *, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> LoadedModel:
    """Load ``model``: ``parts``, a local folder, or ``repository@revision`` with the full commit. No network for the first two.

    Its networks compute in ``dtype``, which also says which files of a repository are read: see :func:`seedbank.models.hub.fetch`.

    Asked again in one process for the files it loaded last, it gives the same object: use it, do not change it.

    On a card its parts lie as memory allows for its usual size; :func:`read_pipeline` and :func:`~.placing.place_model` for another one.

    The scheduler that the repository ships is kept where the sampler reproduces it; else DDIM with the same noise schedule takes its
    place, which :attr:`LoadedModel.notes` says.

    Raises:
        UsageError: no such model, an unsupported family, pickled, missing or broken weights, or a repository that brings its own code.
        OutsideError: the hub could not be reached.
    """
    found = read_pipeline(model, dtype=dtype)
    place_model(found.pipeline, device, found.sampler, judges=ASSUMED_JUDGES)
    return found


def read_pipeline(model: str, *, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """As :func:`load_pipeline`, not put on any device: on the CPU, or where it was put when it was asked for before."""
    folder = find_model(model, PIPELINE, precision=str(dtype).removeprefix("torch."))
    # Before diffusers sees the folder, which would run code or unpickle weights while it loads.
    _check_parts(folder, _check_index(folder, model), model)
    return _loaded(folder, describe(folder, source=model), model, dtype)


# One, since models are large; the card is part of the key, so that changed files are loaded anew.
@lru_cache(maxsize=1)
def _loaded(folder: Path, card: ModelCard, model: str, dtype: torch.dtype) -> LoadedModel:
    """Kept for the rest of the process, for the same files as ``card`` knows them: a scan asks for one model many times."""
    with quiet():
        pipeline = _load(folder, _check_index(folder, model), model, dtype)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            # Gradients are taken with respect to noise only; those of weights would cost memory.
            part.eval().requires_grad_(False)
    notes = _settle_scheduler(pipeline)
    return LoadedModel(pipeline, card, _sampler(folder, pipeline), notes)


def _load(folder: Path, index: Mapping[str, Any], model: str, dtype: torch.dtype) -> Any:
    import diffusers

    # A part given as None is one that diffusers does not load.
    options = {name: None for name in UNUSED if name in index}
    if "safety_checker" in index:
        options["requires_safety_checker"] = False  # type: ignore[assignment]
    try:
        return getattr(diffusers, index["_class_name"]).from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            variant=variant(folder, parts_of(index, model)),
            **options,
        )
    except Exception as error:  # diffusers, transformers, safetensors and tokenizers have no common root
        raise UsageError(
            f"cannot load {model!r}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}; "
            "check that the download is complete, or fetch the model again"
        ) from error


def _check_index(folder: Path, model: str) -> dict[str, Any]:
    """Refuse what this code does not sample exactly, and whatever would run a stranger's code."""
    from seedbank.selection.sampling.families import ADAPTERS

    index = _json(folder / INDEX, model, "a diffusers model_index.json", "name a pipeline folder")
    family = index.get("_class_name")
    if not isinstance(family, str) or family not in ADAPTERS:
        raise UsageError(
            f"expected one of {sorted(ADAPTERS)} in {model!r}, got {family!r}; this family is not supported"
        )
    parts_of(index, model)  # refuses code
    return index


def _check_parts(folder: Path, index: Mapping[str, Any], model: str) -> None:
    """Refuse parts that name code of their own, and parts whose weights are pickled."""
    for name in parts_of(index, model):
        settings = folder / name / "config.json"
        if settings.is_file() and "auto_map" in _json(settings, model, f"JSON in {name}/config.json", "fetch it again"):
            raise UsageError(
                f"{model!r} wants to run its own code for {name!r} (auto_map in {name}/config.json); remote code is never run"
            )
        files = [path.name for path in (folder / name).glob("*") if path.is_file()]
        pickles = sorted(file for file in files if file.endswith(PICKLES))
        # Pickles beside safetensors stay unread: `use_safetensors` is set when the pipeline is loaded.
        if pickles and not any(file.endswith(".safetensors") for file in files):
            raise UsageError(
                f"expected safetensors weights for {name!r} in {model!r}, got only {pickles[0]}, which can run code when it is "
                "read; convert it to safetensors first"
            )


def _json(path: Path, model: str, wanted: str, advice: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise UsageError(f"expected {wanted} in {model!r}: {error}; {advice}") from error
    return found


def _settle_scheduler(pipeline: Any) -> tuple[str, ...]:
    """Keep the scheduler if its steps can be reproduced; replace it by DDIM, saying why, if not."""
    from diffusers import DDIMScheduler

    from seedbank.selection.sampling.schedules import FLOW, unsupported

    fault, shipped = unsupported(pipeline.scheduler), pipeline.scheduler
    if not fault:
        return ()
    # DDIM integrates a diffusion; a flow model's network predicts a velocity that it would misread.
    if hasattr(pipeline, "transformer") or shipped.config.get("prediction_type") == FLOW:
        raise UsageError(f"{fault}; there is no other scheduler for flow models, so name a model that ships it")
    if type(pipeline).__name__ == "LatentConsistencyModelPipeline":
        raise UsageError(f"{fault}; a latent consistency model is sampled with its LCMScheduler")
    # Clipping x0 to -1..1 is meant for pixels; DDIM would do it by default, and latents go beyond.
    pipeline.scheduler = DDIMScheduler.from_config(shipped.config, clip_sample=False, thresholding=False)
    return (f"the model ships {type(shipped).__name__}; sampled with DDIM instead: {fault}",)


def variant(folder: Path, parts: Iterable[str]) -> str | None:
    """``fp16`` where weights of a part are there in no other form; diffusers then takes the full ones of those that have no such."""
    forms = [{form_of(path.name) for path in (folder / part).glob("*.safetensors")} for part in parts]
    return HALF if any(HALF in found and FULL not in found for found in forms) else None


def _sampler(folder: Path, pipeline: Any) -> SamplerConfig:
    """The sampling the model's makers intend: what ``seedbank.json`` says, and the family's usual for what it does not say."""
    from seedbank.selection.sampling.sampler import default_config, usual_batch_size

    usual = default_config(pipeline)
    if not (folder / SAMPLING).is_file():
        return usual
    said = _json(folder / SAMPLING, folder.name, f"sampling settings in {SAMPLING}", "mend or delete that file")
    try:
        # The arithmetic is that in which the weights were loaded, whatever the file says.
        found = SamplerConfig.model_validate({**usual.model_dump(), **said, "dtype": usual.dtype})
        if "batch_size" in said:
            return found
        # The usual batch is for the usual size; the file may have named another one.
        return found.model_copy(update={"batch_size": usual_batch_size(found.height, found.width)})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"expected sampling settings in {SAMPLING} of {folder.name!r}, got a wrong {first['loc'][0]}: {first['msg']}; "
            "mend or delete that file"
        ) from error
