"""Releases: what is published, how it is proved, and how it is drawn again."""

from seedbank.release.publish import publish
from seedbank.release.records import Manifest, Release, latest_release
from seedbank.release.replay import ReplayReport, replay_release
from seedbank.release.verify import VerifiedRelease, verify_release

__all__ = [
    "Manifest",
    "Release",
    "ReplayReport",
    "VerifiedRelease",
    "latest_release",
    "publish",
    "replay_release",
    "verify_release",
]
