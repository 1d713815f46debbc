"""Where a model's files are, what they are, and whether they may be opened.

A model is named ``parts`` (shipped with the package), a local folder, or ``repository@revision`` on a hub with the full 40-digit commit,
so that a name always means the same bytes. Only safetensors weights are opened: a pickle can run code when it is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from seedbank.errors import OutsideError, UsageError
from seedbank.models.card import FOLDER, ModelCard
from seedbank.records import sha256

SHIPPED = "parts"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".msgpack")
"""File types that hold weights as code or in a form we cannot check."""
WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What is fetched from a hub; everything else, pickles and code among it, stays there."""
UNWANTED = ("*.non_ema.*", "*safety_checker/*")
"""What is not fetched although it matches: weights for further training, and a part that is never loaded."""

_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")


def find_model(source: str, part: str = "") -> Path:
    """The folder that holds the model named ``source``; ``part`` names one of the shipped models (``pipeline``, ``encoder``, …).

    Raises:
        UsageError: nothing there, no pinned revision, or weights that would have to be unpickled.
        OutsideError: the hub could not be reached.
    """
    if source == SHIPPED:
        folder = Path(str(files("seedbank.models") / "parts" / "weights" / part))
    elif Path(source).expanduser().is_dir():
        folder = Path(source).expanduser().absolute()
    else:
        folder = _fetch(source, part)
    if not folder.is_dir():
        raise UsageError(f"expected the model {source!r} in {folder}, nothing is there; train it or name another model")
    _refuse_pickles(folder, source)
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars that diffusers and transformers draw over ours while they load."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # Only those that are on, so that a caller who turned them off finds them off.
    loud = [logging for logging in (diffusers_logging, transformers_logging) if logging.is_progress_bar_enabled()]
    for logging in loud:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in loud:
            logging.enable_progress_bar()


def describe(folder: Path, *, source: str) -> ModelCard:
    """The card of the model in ``folder``; its content digest covers the name and content of every file a loader reads."""
    lines = (f"{path.relative_to(folder).as_posix()} {_digest(path)}\n" for path in _files(folder))
    hub = _HUB.fullmatch(source)
    name = hub["repository"] if hub else source if source == SHIPPED else folder.name
    return ModelCard(
        name=name,
        source=source if hub or source == SHIPPED else FOLDER,
        revision=hub["revision"] if hub else "",
        # Sorted, since file systems list in different orders.
        content=sha256("".join(sorted(lines)).encode()),
    )


def _files(folder: Path) -> list[Path]:
    """Every file that decides what the model does; read-me files and pictures do not."""
    return [path for path in folder.rglob("*") if path.is_file() and any(path.match(kind) for kind in WANTED)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_pickles(folder: Path, source: str) -> None:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    # Pickles beside safetensors are harmless: nothing here opens them.
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    absent = "no weights" if not _HUB.fullmatch(source) else "none; pickled ones, which can run code, are never fetched"
    found = f"only {pickles[0]}, which can run code when it is read" if pickles else absent
    raise UsageError(f"expected safetensors weights in {source!r}, got {found}; convert the model to safetensors first")


def _fetch(source: str, part: str) -> Path:
    """The snapshot of a pinned revision. A pipeline's weights lie in folders; what lies beside them is the same again in one file."""
    hub = _HUB.fullmatch(source)
    if not hub:
        raise UsageError(
            f"expected a model as 'parts', a folder, or repository@revision with the 40-digit commit, got {source!r}; "
            "branches and tags can move, so pin the commit"
        )
    from huggingface_hub import snapshot_download

    try:
        wanted = [
            pattern.replace("*.safetensors", "*/*.safetensors") if part == "pipeline" else pattern for pattern in WANTED
        ]
        return Path(
            snapshot_download(
                hub["repository"], revision=hub["revision"], allow_patterns=wanted, ignore_patterns=list(UNWANTED)
            )
        )
    except Exception as error:  # the hub client has no common root for network, cache and access faults
        raise OutsideError(f"cannot fetch {source}: {error}; download it and name the folder instead") from error
