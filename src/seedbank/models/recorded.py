"""The models that a record names, loaded again: the same files, wherever they lie by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    from seedbank.models.pipelines import read_pipeline
    from seedbank.models.placing import ASSUMED_JUDGES, place_model
    from seedbank.selection.sampling.sampler import make_sampler

    # In the arithmetic of the record, as another one draws other bytes.
    dtype, at = getattr(torch, config.dtype), device or torch.device("cpu")
    found = _load(card, lambda where: read_pipeline(where, dtype=dtype), what="model", source=source, option=option)
    place_model(found.pipeline, at, config, judges=ASSUMED_JUDGES)
    return make_sampler(found.pipeline, prompt, config)


def recorded_encoder(
    card: ModelCard, *, sources: Sequence[str] = (), option: str = "--encoder", device: torch.device | None = None
) -> Embedder:
    """The encoder of ``card``; ``sources`` say where its networks are, if not where the card says. See :func:`recorded_sampler`."""
    from seedbank.models.judges import load_encoder

    return _judge(card, load_encoder, what="encoder", sources=sources, option=option, device=device)


def recorded_guard(
    card: ModelCard, *, sources: Sequence[str] = (), option: str = "--guard", device: torch.device | None = None
) -> Embedder:
    """The guard of ``card``; see :func:`recorded_encoder`."""
    from seedbank.models.judges import load_guard

    return _judge(card, load_guard, what="guard", sources=sources, option=option, device=device)


def _judge(
    card: ModelCard,
    load: Callable[..., Embedder],
    *,
    what: str,
    sources: Sequence[str],
    option: str,
    device: torch.device | None,
) -> Embedder:
    import torch

    networks = card.members or (card,)
    if sources and len(sources) != len(networks):
        raise UsageError(
            f"expected {option} once for each of the {len(networks)} networks of the {what}, got {len(sources)}"
        )
    places = [
        _place(network, what=what, source=sources[number] if sources else None, option=option)
        for number, network in enumerate(networks)
    ]
    return _checked(card, load(*places, device=device or torch.device("cpu")), what=what, option=option)


def _load(card: ModelCard, load: Callable[[str], M], *, what: str, source: str | None, option: str) -> M:
    return _checked(card, load(_place(card, what=what, source=source, option=option)), what=what, option=option)


def _place(card: ModelCard, *, what: str, source: str | None, option: str) -> str:
    if source is None and card.source == FOLDER:
        raise UsageError(f"the {what} {card.name!r} was a local folder; say where it is with {option}")
    return source or card.source


def _checked(card: ModelCard, found: M, *, what: str, option: str) -> M:
    # By content alone: a folder may have moved, and the same files may come from elsewhere.
    if found.card.content != card.content:
        raise VerificationError(
            f"expected the {what} {card.name} with files {card.content[:12]}, got {found.card.content[:12]}; seeds and scores mean "
            f"nothing to another one. Name the right one with {option}, or search again with the new one"
        )
    return found
