"""Advice: what to photograph next so that the set becomes better, by plain rules on what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from seedbank.concepts import SetPolicy
from seedbank.references.choosing.choice import Choice
from seedbank.references.judging.measured_photos import MeasuredPhotos
from seedbank.references.judging.subject import BRIGHT, DARK, Subject, colour_name, pose_spread

FEWEST = 3
"""Subjects that must be found before anything is said about backgrounds, colours or poses."""
ALIKE_POSE = 0.15
"""Spread of poses below which all photos show one side: hooks turned by up to 34° measure 0.60, clovers, which are round, 0.20."""
ALIKE_SIZE = 1.3
"""Largest over smallest subject, as shares of the photo's side, below which all photos are taken from one distance."""
LONELY = 0.15
"""Cosine by which a chosen photo must be further from its nearest neighbour than usual to be called alone of its kind."""


def advise(photos: MeasuredPhotos, choice: Choice, out: set[str], policy: SetPolicy) -> tuple[str, ...]:
    """What would improve the set, most useful first; empty when nothing comes to mind.

    Args:
        photos: the measured photos.
        choice: the chosen photos.
        out: digests of the photos that are not usable.
        policy: how many photos are wanted, and how different.
    """
    usable = photos.usable(out)
    subjects = [subject for index in usable if (subject := photos.features[index].subject)]
    found = [*_count(len(usable), policy), *_doubtful(photos, policy)]
    if len(subjects) >= FEWEST:
        found += [*_backgrounds(subjects), *_colours(subjects), *_poses(subjects), *_sizes(subjects)]
    return (*found, *_lonely(photos, choice))


def _count(usable: int, policy: SetPolicy) -> list[str]:
    if usable < policy.min_photos:
        return [
            f"{policy.min_photos - usable} more usable photos are needed: {usable} of at least {policy.min_photos} are there"
        ]
    if usable < policy.max_photos:
        return [f"{policy.max_photos - usable} more usable photos would fill the set of {policy.max_photos}"]
    return []


def _doubtful(photos: MeasuredPhotos, policy: SetPolicy) -> list[str]:
    # What was not measured is NaN, and NaN is below nothing.
    doubtful = [
        row["name"]
        for row in photos.rows
        if row["belonging"] < policy.min_belonging or row["sibling_margin"] < policy.min_sibling_margin
    ]
    if not doubtful:
        return []
    it, them = ("it shows", "it") if len(doubtful) == 1 else ("they show", "them")
    return [f"look at {_names(doubtful)}: if {it} the concept, take two more like {them}, or pin {them}"]


def _backgrounds(subjects: Sequence[Subject]) -> list[str]:
    """No dark one, no bright one, all of one colour."""
    light = np.array([subject.ground[0] for subject in subjects])
    names = Counter(colour_name(subject.ground) for subject in subjects)
    ((commonest, count),) = names.most_common(1)
    found = []
    if count == len(subjects):
        found.append(f"all on a {commonest} background: photograph some on another one")
    if not (light < DARK).any() and commonest != "dark":
        found.append("no photo on a dark background")
    if not (light > BRIGHT).any() and commonest != "bright":
        found.append("no photo on a bright background")
    if len(names) > 1 and not set(names) - {"dark", "grey", "bright"}:
        found.append("no photo on a coloured background")
    return found


def _colours(subjects: Sequence[Subject]) -> list[str]:
    names = {colour_name(subject.colour) for subject in subjects}
    return [f"all subjects are {names.pop()}: if there are others, photograph some"] if len(names) == 1 else []


def _poses(subjects: Sequence[Subject]) -> list[str]:
    found = pose_spread([subject.outline for subject in subjects])
    if found >= ALIKE_POSE:
        return []
    return [
        f"all from the same side: outlines overlap by {1 - found:.0%}; turn it, lay it down, photograph it from behind"
    ]


def _sizes(subjects: Sequence[Subject]) -> list[str]:
    # A share is an area; its root goes with the distance.
    sides = np.sqrt([subject.share for subject in subjects])
    if sides.max() / sides.min() >= ALIKE_SIZE:
        return []
    return ["all from the same distance: take some from nearer and some from further away"]


def _lonely(photos: MeasuredPhotos, choice: Choice) -> list[str]:
    """A chosen photo that no other photo is like: more of its kind would tell a rare view from an accident."""
    peers = np.flatnonzero(photos.peers)
    if len(peers) < 2 * FEWEST:
        return []
    # No photo is its own neighbour: a cosine less 2 is below every other.
    others = photos.similarity[np.ix_(peers, peers)] - 2 * np.eye(len(peers))
    nearest = others.max(axis=1)
    loneliest = int(np.argmin(nearest))
    index = int(peers[loneliest])
    if np.median(nearest) - nearest[loneliest] < LONELY or index not in {item.index for item in choice}:
        return []
    name = photos.rows[index]["name"]
    return [
        f"{name} is the only one of its kind (likeness {nearest[loneliest]:.2f} to its nearest): take two more like it"
    ]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
