"""Tracing: what a digest is, what it came from and what it went into, from a photo to a release; by the records in store and ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from seedbank.bank import Bank
from seedbank.errors import UsageError
from seedbank.evidence.ledger import Entry
from seedbank.records import sha256
from seedbank.references.records import Reference, ReferenceSet
from seedbank.release.records import MANIFEST, STATEMENT, Manifest
from seedbank.review.records import Dossier, decision_key, signed_decision
from seedbank.trials.records import Candidate, Expansion, Trial

MIN_PREFIX = 8
"""Hex digits; fewer would often mean several things."""

Kind = Literal[
    "photo",
    "validation",
    "reference set",
    "model",
    "seed",
    "trial",
    "expansion",
    "image",
    "dossier",
    "decision",
    "release",
    "statement",
]
ORDER: tuple[Kind, ...] = get_args(Kind)
"""From the beginning to the end of the way."""


@dataclass(frozen=True)
class Node:
    """Something that has a digest."""

    digest: str
    kind: Kind
    label: str
    """What it is, for people."""
    key: str
    """Where it lies in the store; empty for what is not kept there."""


@dataclass(frozen=True)
class Trace:
    """One thing and its way."""

    node: Node
    came_from: tuple[Node, ...]
    """Everything it was made from, in the order of the way."""
    went_into: tuple[Node, ...]
    """Everything made from it, in the order of the way."""
    events: tuple[Entry, ...]
    """Ledger entries that name it."""


@dataclass
class _Graph:
    nodes: dict[str, Node] = field(default_factory=dict)
    parents: dict[str, set[str]] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=dict)

    def add(self, digest: str, kind: Kind, label: str, key: str = "", *, made_from: tuple[str, ...] = ()) -> None:
        """A node; the first description of a digest stands."""
        self.nodes.setdefault(digest, Node(digest, kind, label, key))
        for parent in made_from:
            self.parents.setdefault(digest, set()).add(parent)
            self.children.setdefault(parent, set()).add(digest)

    def reach(self, digest: str, edges: dict[str, set[str]]) -> tuple[Node, ...]:
        """Everything that can be reached from ``digest``, in the order of the way."""
        seen, open_ends = set[str](), [digest]
        while open_ends:
            # Ways meet again (one photo in many sets): each node is followed once.
            new = edges.get(open_ends.pop(), set()) - seen
            seen |= new
            open_ends += new
        found = (self.nodes[item] for item in seen - {digest} if item in self.nodes)
        return tuple(sorted(found, key=lambda node: (ORDER.index(node.kind), node.label, node.digest)))


def trace(bank: Bank, digest: str) -> Trace:
    """What ``digest`` (or its first 8 or more digits) is, and its way.

    Raises:
        UsageError: not hex, too short, unknown, or the beginning of several digests.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX},64}}", digest):
        raise UsageError(f"expected {MIN_PREFIX} to 64 hex digits of a digest, got {digest!r}")
    graph = _Graph()
    # In the order of the way: the first description of a digest stands, and releases find decisions among the nodes.
    for read in (_photos, _sets, _trials, _expansions, _dossiers, _releases):
        read(bank, graph)
    matches = [node for node in graph.nodes.values() if node.digest.startswith(digest)]
    if not matches:
        raise UsageError(
            f"nothing in {bank.store.url} has the digest {digest}; `seedbank status` shows some that there are"
        )
    if len(matches) > 1:
        several = ", ".join(f"{node.digest[:16]} ({node.kind})" for node in matches)
        raise UsageError(f"{digest} is the beginning of several digests: {several}; give more digits")
    node = matches[0]
    return Trace(
        node,
        graph.reach(node.digest, graph.parents),
        graph.reach(node.digest, graph.children),
        _events(bank, node.digest),
    )


def _photos(bank: Bank, graph: _Graph) -> None:
    for key in bank.store.keys("photos/"):
        photo = Reference.from_bytes(bank.store.get(key))
        graph.add(photo.photo, "photo", f"{photo.concept}/{photo.name}", f"originals/{photo.photo}")


def _sets(bank: Bank, graph: _Graph) -> None:
    for key in _records(bank, "reference-sets/"):
        made = ReferenceSet.from_bytes(bank.store.get(key))
        photos = tuple(item.photo for item in made.references)
        graph.add(made.validation, "validation", f"checks of {made.concept}", f"validations/{made.validation}.json")
        graph.add(
            made.digest,
            "reference set",
            f"{made.concept}, {len(photos)} photos",
            key,
            made_from=(*photos, made.validation),
        )


def _trials(bank: Bank, graph: _Graph) -> None:
    for key in bank.store.keys("trials/"):
        if not key.endswith("/trial.json"):
            continue
        trial = Trial.from_bytes(bank.store.get(key))
        cards = (trial.model, trial.encoder, trial.guard)
        for card in cards:
            graph.add(card.content, "model", card.name, made_from=tuple(member.content for member in card.members))
            for member in card.members:
                graph.add(member.content, "model", member.name)
        inputs = (trial.reference_set, *(card.content for card in cards))
        graph.add(trial.key, "trial", f"{trial.concept}, {trial.recipe.name}", key, made_from=inputs)
        for candidate in trial.plain:
            _candidate(graph, trial, candidate, "plain")
        for candidate in trial.candidates:
            _candidate(graph, trial, candidate, "optimised")


def _candidate(graph: _Graph, trial: Trial, candidate: Candidate, how: str) -> None:
    # A plain seed is its own start, and must not come from itself.
    start = () if candidate.start == candidate.seed else (candidate.start,)
    seeds = f"{trial.folder}/seeds"
    for digest in start:
        graph.add(digest, "seed", f"{trial.concept}, plain", f"{seeds}/{digest}.safetensors", made_from=(trial.key,))
    label = f"{trial.concept}, {how}"
    graph.add(candidate.seed, "seed", label, f"{seeds}/{candidate.seed}.safetensors", made_from=(trial.key, *start))
    graph.add(
        candidate.image, "image", label, f"{trial.folder}/images/{candidate.image}.png", made_from=(candidate.seed,)
    )


def _expansions(bank: Bank, graph: _Graph) -> None:
    for key in bank.store.keys("expansions/"):
        if not key.endswith("/expansion.json"):
            continue
        made = Expansion.from_bytes(bank.store.get(key))
        label = f"{made.concept}, expanded"
        what = f"{made.concept}, {len(made.images)} images"
        graph.add(made.key, "expansion", what, key, made_from=(made.trial, *made.finds))
        for image in made.images:
            graph.add(image.seed, "seed", label, f"{made.folder}/seeds/{image.seed}.safetensors", made_from=(made.key,))
            graph.add(image.image, "image", label, f"{made.folder}/images/{image.image}.png", made_from=(image.seed,))


def _dossiers(bank: Bank, graph: _Graph) -> None:
    for key in _records(bank, "dossiers/"):
        dossier = Dossier.from_bytes(bank.store.get(key))
        images = tuple(item.image for item in dossier.candidates)
        graph.add(
            dossier.digest,
            "dossier",
            f"{dossier.concept}, {len(images)} candidates",
            key,
            made_from=(dossier.trial, *images),
        )
    for key in bank.store.keys("decisions/"):
        _, digest, seat = key.removesuffix(".json").split("/")
        signed = signed_decision(bank, digest, int(seat))
        if signed:
            label = f"seat {seat}, {signed.decision.reviewer}: {signed.decision.verdict}"
            graph.add(signed.digest, "decision", label, key, made_from=(digest,))


def _releases(bank: Bank, graph: _Graph) -> None:
    for key in bank.store.keys("releases/"):
        folder, _, name = key.rpartition("/")
        if name != MANIFEST:
            continue
        manifest = Manifest.from_bytes(bank.store.get(key))
        wanted = {decision_key(manifest.dossier, item.seat) for item in manifest.decisions}
        decisions = tuple(node.digest for node in graph.nodes.values() if node.key in wanted)
        images = tuple(item.candidate.image for item in manifest.images)
        graph.add(manifest.digest, "release", folder, key, made_from=(manifest.dossier, *decisions, *images))
        if bank.store.exists(f"{folder}/{STATEMENT}"):
            statement = sha256(bank.store.get(f"{folder}/{STATEMENT}"))
            graph.add(statement, "statement", folder, f"{folder}/{STATEMENT}", made_from=(manifest.digest,))


def _records(bank: Bank, prefix: str) -> Iterator[str]:
    """Records directly below ``prefix``; what lies in folders below it belongs to them."""
    return (key for key in bank.store.keys(prefix) if key.count("/") == prefix.count("/") and key.endswith(".json"))


def _events(bank: Bank, digest: str) -> tuple[Entry, ...]:
    # Within the values: some keys are made of a digest and more, as a decision's of dossier and seat.
    return tuple(entry for entry in bank.ledger.entries() if any(digest in str(value) for value in entry.data.values()))
