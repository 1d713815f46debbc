"""The steward's picks: which photos the names in a concept file mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seedbank.concepts import Picks
from seedbank.errors import UsageError

HEX = frozenset("0123456789abcdef")
KNOWN_NAMES = 12
"""How many names an error lists."""


class NamedPhoto(Protocol):
    """A photo as the steward names it."""

    @property
    def photo(self) -> str:
        """Its digest."""

    @property
    def name(self) -> str:
        """Its file name."""


@dataclass(frozen=True)
class ResolvedPicks:
    """Digests of the pinned photos, in the steward's order, and of the banned ones."""

    pinned: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()


NO_PICKS = ResolvedPicks()
"""No photo pinned, none banned."""


def resolve_picks(picks: Picks, photos: Sequence[NamedPhoto], *, most: int) -> ResolvedPicks:
    """Which photos the steward pins and bans.

    Args:
        picks: as the concept file has them: file names or first digits of digests.
        photos: all photos of the concept.
        most: how many may be pinned.

    Raises:
        UsageError: a name means no photo or several, a photo is both pinned and banned, or more than ``most`` are pinned.
    """
    pinned = tuple(_digest("pin", name, photos) for name in picks.pin)
    banned = tuple(_digest("ban", name, photos) for name in picks.ban)
    if both := sorted(set(pinned) & set(banned)):
        raise UsageError(
            f"photo {both[0][:12]} is pinned and banned under two names; decide for one in the concept file"
        )
    if len(set(pinned)) < len(pinned):
        raise UsageError(f"references.pin names one photo twice: {', '.join(picks.pin)}; name it once")
    if len(pinned) > most:
        raise UsageError(
            f"{len(pinned)} photos are pinned, a set holds at most {most}; pin fewer or raise policy.references.max_photos"
        )
    return ResolvedPicks(pinned, banned)


def _digest(kind: str, name: str, photos: Sequence[NamedPhoto]) -> str:
    found = [item.photo for item in photos if item.name == name]
    # A file's name before digits: a photo may be called "cafe".
    if not found and set(name) <= HEX:
        found = [item.photo for item in photos if item.photo.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        digests = ", ".join(digest[:12] for digest in found)
        raise UsageError(
            f"references.{kind} names {name!r}, which are {len(found)} photos: {digests}; name one by its digest"
        )
    known = ", ".join(item.name for item in photos[:KNOWN_NAMES]) + (", …" if len(photos) > KNOWN_NAMES else "")
    raise UsageError(
        f"references.{kind} names {name!r}, expected a file name or the first digits of a digest of the concept's photos: "
        f"{known or 'it has none'}; a photo that intake set aside is not among them: `seedbank intake` says why"
    )
