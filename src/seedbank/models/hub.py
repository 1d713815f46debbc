"""Models on a hub: at which commit a branch is, and the files of a pinned commit on this machine.

Files lie in ``<HF_HOME>/seedbank``, one folder for each commit and choice of files, so that a name means the same bytes everywhere; the
hub's own cache holds besides whatever other programs wanted of that commit. What either holds is taken from there and not fetched again.
``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to the hub's client.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from seedbank.errors import SeedbankError, UsageError
from seedbank.models.client import TIMEOUT, Pinned, info, named, pinned, translated
from seedbank.models.download import Offered, borrow, check_space, download
from seedbank.models.weights import CONFIG, INDEX, PIPELINE, SAMPLING, choose, parts_of, refuse_code

log = logging.getLogger(__name__)

WORTH_TELLING = 10**8
"""Bytes from which a search that stops to fetch says so."""
Progress = Callable[[int, int], object]
"""Told of a fetch: bytes that are here, bytes in all."""


def resolve(source: str) -> str:
    """The 40-digit commit at which ``repository@branch`` is now (``main`` if none is named); a tag or a commit can stand for the branch.

    Raises:
        UsageError: no such repository or branch, or no access to it.
        OutsideError: the hub could not be reached.
    """
    repository, branch = named(source)
    return str(info(repository, branch or "main", files=False).sha)


def fetch(
    source: str, part: str, *, precision: str = "float32", to: Path | None = None, progress: Progress | None = None
) -> Path:
    """The folder with what ``part`` needs of ``source``, ``repository@revision`` with the full commit; fetched unless it is here.

    Of weights that a pipeline's repository holds in full and in half precision, only those come that ``precision`` wants, or the others
    where there are no such. A judge's are always the full ones. Nothing is fetched that can run code.

    Args:
        source: which model.
        part: ``pipeline``, or a judge's part.
        precision: of the arithmetic: ``float32``, ``float16`` or ``bfloat16``.
        to: a folder to use in place of ``HF_HOME``. Carried to a machine without network, it is what ``HF_HOME`` names there.
        progress: told of every step.

    Raises:
        UsageError: no pinned commit, no access, no safetensors weights, or a model that wants to run its own code.
        VerificationError: a file is not what the hub says it is; it was removed.
        OutsideError: the hub cannot be reached and the files are not here, or the disk is full.
    """
    pin = pinned(source)
    if not pin:
        raise UsageError(
            f"expected a model as 'parts', a folder, or repository@revision with the 40-digit commit, got {source!r}; "
            "branches and tags can move, so pin the commit (seedbank models pin)"
        )
    from huggingface_hub import constants
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    half = part == PIPELINE and precision != "float32"
    kind = f"{PIPELINE}-{'half' if half else 'full'}" if part == PIPELINE else "judge"
    root = (to or Path(constants.HF_HOME)).expanduser().absolute() / "seedbank"
    fetching = _Fetching(pin, root / pin.repository.replace("/", "--") / f"{pin.commit}-{kind}", progress)
    if not fetching.done():
        fetching.folder.mkdir(parents=True, exist_ok=True)
        # One at a time: two searches that begin together want the same files.
        with WeakFileLock(fetching.beside(".lock")), translated(pin.repository, pin.commit):
            if not fetching.done():
                fetching.run(part, half)
    return fetching.folder


class _Fetching:
    """One commit's way into its folder. The list of what it holds is written last, so whoever finds the list finds the files."""

    def __init__(self, pin: Pinned, folder: Path, progress: Progress | None) -> None:
        self.pin, self.folder, self.progress = pin, folder, progress

    def beside(self, suffix: str) -> Path:
        return self.folder.with_name(self.folder.name + suffix)

    def done(self) -> bool:
        """Whether everything is here, by name and size."""
        try:
            sizes = {name: Offered(**kept).size for name, kept in json.loads(self.beside(".json").read_text()).items()}
            here = sum(size for name, size in sizes.items() if (self.folder / name).stat().st_size == size)
        except (OSError, ValueError, TypeError, AttributeError):
            return False
        if here < sum(sizes.values()):
            return False
        self._report(here, here, 0)
        return True

    def run(self, part: str, half: bool) -> None:
        offered, listed = self._offered()
        entry = self._entry(offered, part)
        folders = list(parts_of(self._read(entry), str(self.pin))) if part == PIPELINE else [""]
        chosen = choose(offered, folders=folders, half=half, source=str(self.pin))
        settings = self._known(offered, {entry, *chosen.settings, *({SAMPLING} & offered.keys())})
        self._bring(settings)
        for name in settings:
            # Before the large files come.
            if name.endswith(CONFIG):
                refuse_code(self._read(name), name, str(self.pin))
        files = settings | self._known(offered, chosen.weights)
        self._bring(files)
        self._keep_only(files)
        if listed:
            self._list(files)

    def _entry(self, offered: Mapping[str, Offered], part: str) -> str:
        """The file that says what the model is, fetched."""
        entry, library = (INDEX, "diffusers") if part == PIPELINE else (CONFIG, "transformers")
        if entry not in offered:
            raise UsageError(
                f"expected {entry} in {str(self.pin)!r}, found none; name a repository with the folders of {library}, not one large file"
            )
        self._bring(self._known(offered, [entry]))
        return entry

    def _bring(self, files: Mapping[str, Offered]) -> None:
        """Fetch those of ``files`` that are not here."""
        missing = {name: file for name, file in files.items() if not (self.folder / name).is_file()}
        begun = sum(draft.stat().st_size for draft in self.folder.rglob("*.part"))
        check_space(self.folder, sum(file.size for file in missing.values()) - begun)
        total = sum(file.size for file in files.values())
        if missing and total > WORTH_TELLING and not self.progress:
            log.warning("fetching %s: %.1f GB (seedbank models fetch shows how far it is)", self.pin, total / 1e9)
        here = total - sum(file.size for file in missing.values())
        for name, file in missing.items():
            near = [self._cache() / "blobs" / file.digest, *self.folder.parent.glob(f"{self.pin.commit}-*/{name}")]
            if not any(borrow(found, self.folder / name, file) for found in near):
                download(self._url(name), self.folder / name, file, advanced=partial(self._report, here, total))
            here += file.size
            self._report(here, total, 0)

    def _report(self, here: int, total: int, more: int) -> None:
        if self.progress:
            self.progress(here + more, total)

    def _offered(self) -> tuple[dict[str, Offered], bool]:
        """What the hub says it has; where it cannot be asked, what its cache holds of this commit, which may not be all (False)."""
        try:
            siblings = info(self.pin.repository, self.pin.commit, files=True).siblings or []
        except SeedbankError:
            cached = _cached(self._cache() / "snapshots" / self.pin.commit)
            if not cached:
                raise
            return cached, False
        return {
            file.rfilename: Offered(file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id or "")
            for file in siblings
        }, True

    def _known(self, offered: Mapping[str, Offered], names: Iterable[str]) -> dict[str, Offered]:
        """Those of ``names``; what a mirror's listing does not say of them is asked file by file."""
        return {name: offered[name] if offered[name].digest else self._asked(name) for name in sorted(names)}

    def _asked(self, name: str) -> Offered:
        from huggingface_hub import get_hf_file_metadata

        answer = get_hf_file_metadata(self._url(name), timeout=TIMEOUT)
        return Offered(answer.size or 0, answer.etag or "")

    def _cache(self) -> Path:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / f"models--{self.pin.repository.replace('/', '--')}"

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.pin.repository, name, revision=self.pin.commit)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_text())
            if not isinstance(found, dict):
                raise ValueError("it is no JSON object")
        except ValueError as error:
            raise UsageError(f"expected JSON in {name} of {str(self.pin)!r}: {error}") from error
        return found

    def _keep_only(self, files: Mapping[str, Offered]) -> None:
        """Remove what an earlier fetch with less to choose from brought."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in files:
                path.unlink()

    def _list(self, files: Mapping[str, Offered]) -> None:
        draft = self.beside(".json.part")
        draft.write_text(json.dumps({name: asdict(file) for name, file in sorted(files.items())}, indent=1))
        draft.replace(self.beside(".json"))


def _cached(snapshot: Path) -> dict[str, Offered]:
    """The files of a snapshot in the hub's cache, whose entries point to blobs that are called by their digests."""
    files = {path.relative_to(snapshot).as_posix(): path.resolve() for path in snapshot.rglob("*") if path.is_file()}
    return {name: Offered(blob.stat().st_size, blob.name) for name, blob in files.items() if len(blob.name) in (40, 64)}
