"""Where a model's files are, what they are, and whether they may be opened.

A model is named ``parts`` (shipped with the package), a local folder, or ``repository@revision`` on a hub with the full 40-digit commit,
so that a name always means the same bytes. Only safetensors weights are opened: a pickle can run code when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from seedbank.errors import UsageError
from seedbank.models.card import FOLDER, SHIPPED, ModelCard
from seedbank.models.client import may_be_repository, pinned
from seedbank.models.hub import fetch
from seedbank.models.weights import PICKLES, SETTINGS
from seedbank.records import sha256


def find_model(source: str, part: str = "", *, precision: str = "float32") -> Path:
    """The folder that holds the model named ``source``; ``part`` says what for (``pipeline``, ``encoder``, …).

    ``precision`` is that of the arithmetic; see :func:`seedbank.models.hub.fetch`, which fetches what is on a hub.

    Raises:
        UsageError: nothing there, no pinned revision, no access, or weights that would have to be unpickled.
        VerificationError: a fetched file is not what the hub says it is.
        OutsideError: the hub could not be reached.
    """
    if source == SHIPPED:
        folder = Path(str(files("seedbank.models") / "parts" / "weights" / part))
    elif Path(source).expanduser().is_dir():
        folder = Path(source).expanduser().absolute()
    elif not may_be_repository(source):
        raise UsageError(
            f"no folder {source!r}: it was moved or removed, or it is meant from another place; name a model as {SHIPPED!r}, a folder, or "
            "repository@revision"
        )
    else:
        folder = fetch(source, part, precision=precision)
    if not folder.is_dir():
        raise UsageError(f"expected the model {source!r} in {folder}, nothing is there; train it or name another model")
    _refuse_pickles(folder, source)
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars that diffusers and transformers draw over ours while they load, and without their remarks."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from seedbank.selection.sampling.silence import only_errors

    # Only those that are on, so that a caller who turned them off finds them off.
    loud = [logging for logging in (diffusers_logging, transformers_logging) if logging.is_progress_bar_enabled()]
    for logging in loud:
        logging.disable_progress_bar()
    try:
        with only_errors():
            yield
    finally:
        for logging in loud:
            logging.enable_progress_bar()


def describe(folder: Path, *, source: str) -> ModelCard:
    """The card of the model in ``folder``; its content digest covers the name and content of every file a loader reads."""
    lines = (f"{path.relative_to(folder).as_posix()} {_digest(path)}\n" for path in _files(folder))
    pin = pinned(source)
    name = pin.repository if pin else folder.name
    if source == SHIPPED:
        # All its parts lie under one name; a reviewer should read which of them it was.
        name = SHIPPED if folder.name == "pipeline" else f"{SHIPPED} {folder.name}"
    return ModelCard(
        name=name,
        source=source if pin or source == SHIPPED else FOLDER,
        revision=pin.commit if pin else "",
        # Sorted, since file systems list in different orders.
        content=sha256("".join(sorted(lines)).encode()),
    )


def judge_card(sources: Sequence[str], part: str) -> ModelCard:
    """The card of a judge of one network or several, without loading it; raises like :func:`find_model`."""
    cards = [describe(find_model(source, part), source=source) for source in sources]
    return cards[0] if len(cards) == 1 else ModelCard.joint(cards)


def _files(folder: Path) -> list[Path]:
    """Every file that decides what the model does; read-me files and pictures do not."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix in (*SETTINGS, ".safetensors")]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_pickles(folder: Path, source: str) -> None:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    # Pickles beside safetensors are harmless: nothing here opens them.
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    found = f"only {pickles[0]}, which can run code when it is read" if pickles else "no weights"
    raise UsageError(f"expected safetensors weights in {source!r}, got {found}; convert the model to safetensors first")
