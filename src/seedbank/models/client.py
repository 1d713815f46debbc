"""The hub's client, asked about one repository; its errors in our words, each with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seedbank.errors import OutsideError, SeedbankError, UsageError

TIMEOUT = 30.0
"""Seconds that a question about a repository may take."""

_SOURCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pinned:
    """One commit of a repository."""

    repository: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"


def named(source: str) -> tuple[str, str]:
    """Repository and revision of ``repository@revision``, of which the latter may be absent.

    Raises:
        UsageError: ``source`` is something else.
    """
    match = _SOURCE.fullmatch(source)
    if not match:
        raise UsageError(f"expected repository@branch, as in maker/model@main, got {source!r}")
    return match["repository"], match["revision"] or ""


def may_be_repository(source: str) -> bool:
    """Whether ``source`` is written as a repository, with a revision or without, and not as a path."""
    return bool(_SOURCE.fullmatch(source)) and not source.startswith(".")


def pinned(source: str) -> Pinned | None:
    """``repository@revision`` with the full 40-digit commit, taken apart; None for anything else."""
    match = _SOURCE.fullmatch(source)
    revision = match["revision"] if match else None
    return Pinned(match["repository"], revision) if match and revision and _COMMIT.fullmatch(revision) else None


def info(repository: str, revision: str, *, files: bool) -> Any:
    """What the hub says of a repository at ``revision``: ``sha``, and ``siblings`` with their sizes and digests where ``files``.

    Raises:
        UsageError: no such repository or revision, or no access.
        OutsideError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with translated(repository, revision):
        return HfApi().model_info(repository, revision=revision, files_metadata=files, timeout=TIMEOUT)


@contextmanager
def translated(repository: str, revision: str) -> Iterator[None]:
    """The client's errors, as ours; see :func:`info`."""
    import httpx2
    from huggingface_hub import constants, errors, get_token

    where = f"{constants.ENDPOINT}/{repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        used = "the token in use has no access" if get_token() else "no token is set"
        raise UsageError(
            f"{repository} is gated, and {used}: accept its licence at {where}, and set HF_TOKEN to a read token of that account"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{repository} has no revision {revision}{_now(repository, revision)}") from error
    except errors.HFValidationError as error:
        raise UsageError(f"expected a repository as maker/model, got {repository!r}: {error}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
            raise UsageError(
                f"no model {repository} at {constants.ENDPOINT} for this account (status {status}); check the name, and if it is private, "
                "set HF_TOKEN to a read token of an account that may read it"
            ) from error
        raise _unreachable(repository, f"status {status}") from error
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise _unreachable(repository, str(error) or type(error).__name__) from error
    except OSError as error:
        raise OutsideError(f"cannot keep the files of {repository}: {error}; HF_HOME says where they go") from error


def _now(repository: str, revision: str) -> str:
    """Where its main branch is now, for whoever pinned what is gone; nothing if that cannot be said."""
    if revision == "main":
        return "; name one of its branches"
    try:
        now = info(repository, "main", files=False).sha
    except SeedbankError:
        return "; name one of its branches"
    return f" any more; main is now at {now}. Look at what changed, then pin it (seedbank models pin)"


def _unreachable(repository: str, why: str) -> OutsideError:
    return OutsideError(
        f"cannot fetch {repository}: {why}, and its files are not on this machine; try again, set HF_ENDPOINT to a mirror, or fetch it on "
        "another machine (seedbank models fetch) and set HF_HOME to the folder that you carry here"
    )
