"""Releases: what is published, how it is proved, and how it is drawn again.

In: an approved dossier. Out: a signed folder, and whether one holds. Knows nothing of Airflow or MLflow. Names below are imported when
first used, so that a release can be read and verified without what draws one; :func:`~.publish.publish` is in its own module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbank.release.records import Manifest, Release, load_release, newest_release_folder
    from seedbank.release.replay import ReplayReport, replay_release
    from seedbank.release.verify import VerifiedRelease, verify_release

_HOMES = {
    "records": ("Manifest", "Release", "load_release", "newest_release_folder"),
    "replay": ("ReplayReport", "replay_release"),
    "verify": ("VerifiedRelease", "verify_release"),
}
"""Where each exported name is defined."""

__all__ = [
    "Manifest",
    "Release",
    "ReplayReport",
    "VerifiedRelease",
    "load_release",
    "newest_release_folder",
    "replay_release",
    "verify_release",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
