"""The models that a record names, loaded again: the same files, wherever they lie by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from seedbank.errors import UsageError, VerificationError
from seedbank.models.card import FOLDER, ModelCard

if TYPE_CHECKING:
    import torch

    from seedbank.models.judges import Embedder
    from seedbank.selection.records import SamplerConfig
    from seedbank.selection.sampling.sampler import Sampler


class Carded(Protocol):
    """A loaded model that knows what it is."""

    @property
    def card(self) -> ModelCard:
        """By content."""


M = TypeVar("M", bound=Carded)


def recorded_sampler(
    card: ModelCard,
    *,
    prompt: str,
    config: SamplerConfig,
    source: str | None = None,
    option: str = "--model",
    device: torch.device | None = None,
) -> Sampler:
    """What turns noise into images as the record says: the pipeline of ``card`` with its prompt and sampling.

    Args:
        card: of the diffusion model, from the record.
        prompt: what was drawn.
        config: how it was sampled, in which arithmetic.
        source: where the model is, if not where the card says.
        option: how a person names it on the command line, for messages.
        device: where to compute; default the CPU.

    Raises:
        UsageError: it was a local folder and nobody says where, or there is no such model.
        VerificationError: what lies there is another model.
    """
    import torch

    from seedbank.models.pipelines import load_pipeline
    from seedbank.selection.sampling.sampler import make_sampler

    # In the arithmetic of the record, as another one draws other bytes.
    dtype, at = getattr(torch, config.dtype), device or torch.device("cpu")
    found = _load(
        card, lambda where: load_pipeline(where, dtype=dtype, device=at), what="model", source=source, option=option
    )
    return make_sampler(found.pipeline, prompt, config)


def recorded_encoder(
    card: ModelCard, *, source: str | None = None, option: str = "--encoder", device: torch.device | None = None
) -> Embedder:
    """The encoder of ``card``; see :func:`recorded_sampler`."""
    import torch

    from seedbank.models.judges import load_encoder

    at = device or torch.device("cpu")
    return _load(card, lambda where: load_encoder(where, device=at), what="encoder", source=source, option=option)


def recorded_guard(
    card: ModelCard, *, source: str | None = None, option: str = "--guard", device: torch.device | None = None
) -> Embedder:
    """The guard of ``card``; see :func:`recorded_sampler`."""
    import torch

    from seedbank.models.judges import load_guard

    at = device or torch.device("cpu")
    return _load(card, lambda where: load_guard(where, device=at), what="guard", source=source, option=option)


def _load(card: ModelCard, load: Callable[[str], M], *, what: str, source: str | None, option: str) -> M:
    if source is None and card.source == FOLDER:
        raise UsageError(f"the {what} {card.name!r} was a local folder; say where it is with {option}")
    found = load(source or card.source)
    # By content alone: a folder may have moved, and the same files may come from elsewhere.
    if found.card.content != card.content:
        raise VerificationError(
            f"expected the {what} {card.name} with files {card.content[:12]}, got {found.card.content[:12]}; seeds and scores mean "
            f"nothing to another one. Name the right one with {option}, or search again with the new one"
        )
    return found
