"""Many images from one find: seeds around it, as far from it and from each other as the guard lets them be.

A seed that draws a rare concept right was expensive; seeds near it are nearly free and mostly right too. How near depends on the concept
and the model, so it is found out: of the cosines in :attr:`Plan.cosines` the smallest (the most variation) at which
:attr:`Plan.wanted` of the neighbours are still accepted; and further out where those turn out too alike. Accepted seeds are also mixed.

It accepts as a trial does (:mod:`seedbank.selection.judging.acceptance`). And what is accepted must differ from everything accepted before.

All of it but the seconds is a pure function of its arguments: to resume is to call it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.records import canonical_json, sha256
from seedbank.selection.expansion.results import Expansion, Kind, Offspring, Tried
from seedbank.selection.judging.acceptance import Acceptance, Judgement
from seedbank.selection.judging.diversity import effective_number
from seedbank.selection.judging.guard import Guard
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.mixes import mixed, neighbours, on_sphere, repelled
from seedbank.selection.sampling.noise import generator, stacked, to_numpy
from seedbank.selection.sampling.sampler import Sampler, from_pixels, to_pixels
from seedbank.selection.seeds import Lineage, Seed

Proposal = tuple[Tensor, Lineage]
"""Noise ``[C, h, w]`` on the CPU, and where it came from."""


@dataclass(frozen=True)
class Plan:
    """How a find is expanded.

    Attributes:
        cosines: of neighbours to the find, from the nearest to the furthest.
        wanted: share of neighbours that must be accepted at a cosine.
        probe: neighbours drawn to learn that share; those accepted are kept.
        batch: seeds drawn at once. What is accepted is drawn again alone, as it will be replayed, and judged again.
        mixed: seeds in one mix; below 2 nothing is mixed.
        strict: how near the references a picture must be: 0 at the guard's threshold, 1 as near as the find itself. The further above
            the threshold, the more often the auditor agrees.
        apart: least distance (1 - cosine of the guard's embeddings) between two accepted pictures; None takes
            :func:`natural_distance` of the references.
        patience: batches in a row that add nothing, after which it gives up with what it has.
        budget: plain samples for each wanted image (for a batch's worth at least), after which it gives up with what it has.
    """

    cosines: tuple[float, ...] = (0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
    wanted: float = 0.8
    probe: int = 8
    batch: int = 8
    mixed: int = 3
    strict: float = 0.5
    apart: float | None = None
    patience: int = 5
    budget: float = 8.0

    @property
    def digest(self) -> str:
        """Of all settings, for lineages."""
        return sha256(canonical_json({"expand": 1, **asdict(self)}))


def expand(
    sampler: Sampler,
    acceptance: Acceptance,
    finds: Sequence[Seed],
    count: int,
    *,
    root: str = "0",
    plan: Plan | None = None,
    observe: Callable[[int, int], None] = lambda _done, _total: None,
) -> Expansion:
    """Up to ``count`` accepted, pairwise distinct pictures from seeds around ``finds``.

    Args:
        sampler: draws them.
        acceptance: accepts or rejects; its guard measures distance.
        finds: seeds that draw the concept right.
        count: how many pictures are wanted; fewer come back where the budget ends first.
        root: what all random draws derive from.
        plan: how far to go, how many at once.
        observe: told how many are accepted, of how many.

    Raises:
        UsageError: no find, or a seed of another shape than the sampler's.
    """
    if not finds:
        raise UsageError(
            "expected at least one seed to expand, got none; name an accepted candidate of a finished trial"
        )
    for find in finds:
        if find.latents.shape != sampler.noise_shape:
            raise UsageError(
                f"expected seeds of shape {sampler.noise_shape}, got {find.latents.shape}; expand with the model they were found with"
            )
    return _Run(sampler, acceptance, tuple(finds), count, root, plan or Plan(), observe).all()


def natural_distance(guard: Guard, least: float = 0.01) -> float:
    """Half of how far the two most alike references are apart, at least ``least``.

    Half, because references are chosen for being unlike each other, and two pictures nearer than they are still differ visibly.
    """
    if len(guard.prototypes) < 2:
        return least
    pairs = 1 - guard.prototypes @ guard.prototypes.T
    own = torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    return max(float(pairs.masked_fill(own, torch.inf).min()) / 2, least)


@dataclass
class _Run:
    """One expansion on its way."""

    sampler: Sampler
    acceptance: Acceptance
    finds: tuple[Seed, ...]
    count: int
    root: str
    plan: Plan
    observe: Callable[[int, int], None]
    cost: int = 0
    proposed: int = 0
    kept: list[Offspring] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)
    tried: dict[Kind, Tried] = field(default_factory=lambda: {"neighbour": Tried(), "mix": Tried()})
    probed: dict[float, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.apart = natural_distance(self.acceptance.guard) if self.plan.apart is None else self.plan.apart

    def all(self) -> Expansion:
        self.acceptance = replace(self.acceptance, margin=self._margin())
        cosine, barren = self._furthest(), 0
        place = self.plan.cosines.index(cosine)
        while len(self.kept) < self.count and barren < self.plan.patience and self._affords(self.plan.batch):
            kind, before, kept = self._kind(), self.tried["neighbour"], len(self.kept)
            if kind == "mix":
                self._try(kind, self._mixes())
            else:
                self._try(kind, self._around(self.plan.cosines[place], self.plan.batch))
                place = self._balanced(place, before, self.tried["neighbour"])
            barren = barren + 1 if len(self.kept) == kept else 0
        return self._result(cosine)

    def _balanced(self, place: int, before: Tried, after: Tried) -> int:
        """One step further out where most of a batch was too alike, one step nearer where most of it was rejected."""
        drawn = after.drawn - before.drawn
        rejected, alike = drawn - (after.accepted - before.accepted), after.alike - before.alike
        if alike > max(rejected, drawn / 4):
            return min(place + 1, len(self.plan.cosines) - 1)
        return max(place - 1, 0) if rejected > max(alike, drawn / 2) else place

    @torch.no_grad()
    def _margin(self) -> float:
        """Of how much nearer than the guard's threshold the worst find is, drawn alone, the share that the plan asks for."""
        if not self.plan.strict:
            return 0.0
        self.cost += self.sampler.cost(len(self.finds))
        images = from_pixels(self.sampler.draw(stacked(self.finds))).to(self.sampler.family.device)
        guard = self.acceptance.guard
        return self.plan.strict * max(float(guard.similarity(images).min()) - guard.threshold, 0.0)

    def _furthest(self) -> float:
        """The smallest cosine at which enough is accepted, by bisection; what the probes find is kept."""
        near, far = 0, len(self.plan.cosines)  # `near` is taken to hold, `far` to fail
        while far - near > 1 and len(self.kept) < self.count and self._affords(self.plan.probe):
            middle = (near + far) // 2
            cosine = self.plan.cosines[middle]
            before = self.tried["neighbour"]
            self._try("neighbour", self._around(cosine, self.plan.probe))
            now = self.tried["neighbour"]
            self.probed[cosine] = (now.accepted - before.accepted) / (now.drawn - before.drawn)
            near, far = (middle, far) if self.probed[cosine] >= self.plan.wanted else (near, middle)
        return self.plan.cosines[near]

    def _kind(self) -> Kind:
        """The kind that is kept more often, of equals the one tried less; mixes only once there is something to mix."""
        if self.plan.mixed < 2 or len(self.kept) < max(self.plan.mixed, 4):
            return "neighbour"
        mix, neighbour = self.tried["mix"], self.tried["neighbour"]
        better = (mix.promise, -mix.drawn) > (neighbour.promise, -neighbour.drawn)
        return "mix" if better else "neighbour"

    def _around(self, cosine: float, count: int) -> list[Proposal]:
        first = self.proposed
        parents = [
            self.finds[(first + row) // 2 % len(self.finds)] for row in range(count)
        ]  # antithetic pairs share one
        across = repelled(f"{self.root}/around", range(first, first + count), self.sampler.noise_shape)
        noise = neighbours(stacked(parents), across, cosine)
        self.proposed += count + count % 2
        note = f"cosine {cosine}"
        return [
            (row, Lineage(kind="neighbour", parents=(parent.digest,), recipe=self.plan.digest, note=note))
            for row, parent in zip(noise, parents, strict=True)
        ]

    def _mixes(self) -> list[Proposal]:
        """Mixes of a few accepted seeds each, all with weights of one sign: between them, not beyond."""
        random = generator(self.root, "mix", self.tried["mix"].drawn)
        found = []
        for _ in range(self.plan.batch):
            picked = random.choice(len(self.kept), self.plan.mixed, replace=False)
            parents = [self.kept[index].seed for index in picked]
            weights = on_sphere(1, len(parents), random).abs()
            found.append((_between(parents, weights), mixed(parents, weights, self.plan.digest)[0]))
        return found

    def _try(self, kind: Kind, proposals: Sequence[Proposal]) -> None:
        """Draw, judge and keep."""
        judged = self._judge(torch.stack([noise for noise, _ in proposals]))
        for (noise, lineage), found in zip(proposals, judged, strict=True):
            self._count(kind, drawn=1, accepted=int(found.accepted))
            if found.accepted and len(self.kept) < self.count:
                self._keep(kind, noise, lineage, found.guard_embedding)
        self.observe(len(self.kept), self.count)

    @torch.no_grad()
    def _judge(self, noise: Tensor) -> tuple[Judgement, ...]:
        """Of each, drawn in a batch."""
        self.cost += self.sampler.cost(len(noise))
        family = self.sampler.family
        return self.acceptance.judge(family.decode(self.sampler.denoise(noise.to(family.device))).clamp(0, 1))

    def _keep(self, kind: Kind, noise: Tensor, lineage: Lineage, embedding: Tensor) -> None:
        """Draw the seed alone, and keep it if it is still accepted and unlike all that were kept before."""
        if self._distance(embedding) < self.apart:
            self._count(kind, alike=1)
            return
        seed = Seed(to_numpy(noise), lineage)
        found, judged = self._alone(seed)
        if not judged.accepted:
            self._count(kind, undone=1)
        elif found.apart < self.apart:
            self._count(kind, alike=1)
        else:
            self.kept.append(found)
            self.embeddings.append(judged.guard_embedding)

    @torch.no_grad()
    def _alone(self, seed: Seed) -> tuple[Offspring, Judgement]:
        """The picture of one seed, from the bytes that are kept."""
        noise = torch.from_numpy(seed.latents.copy())
        self.cost += self.sampler.cost(1)
        latents = self.sampler.finish(noise[None])
        pixels = to_pixels(self.sampler.family.decode(latents))[0]
        image = from_pixels(pixels[None]).to(latents.device)
        (judged,) = self.acceptance.judge(image)
        parents = {find.digest: find for find in (*self.finds, *(child.seed for child in self.kept))}
        origins = torch.from_numpy(np.stack([parents[digest].latents for digest in seed.lineage.parents]))
        found = Offspring(
            seed=seed,
            pixels=pixels,
            guard=judged.guard,
            copy=judged.copy_score,
            semantic=judged.semantic,
            apart=self._distance(judged.guard_embedding),
            cosine=float(sphere.cosine(noise.expand_as(origins), origins).max()),
            norm_z=float(sphere.norm_score(noise[None])),
            whiteness=float(sphere.whiteness(noise[None])),
        )
        return found, judged

    def _distance(self, embedding: Tensor) -> float:
        """To the nearest picture kept so far; 2, the largest there is, where none is."""
        if not self.embeddings:
            return 2.0
        return float((1 - torch.stack(self.embeddings) @ embedding).min())

    def _affords(self, batch: int) -> bool:
        images = max(self.count, self.plan.batch)
        return self.cost + self.sampler.cost(batch) <= self.plan.budget * images * self.sampler.cost(1)

    def _count(self, kind: Kind, *, drawn: int = 0, accepted: int = 0, alike: int = 0, undone: int = 0) -> None:
        now = self.tried[kind]
        self.tried[kind] = Tried(now.drawn + drawn, now.accepted + accepted, now.alike + alike, now.undone + undone)

    def _result(self, cosine: float) -> Expansion:
        count = len(self.kept)
        similarity = _similarity(self.embeddings)
        pairs = 1 - similarity[~np.eye(count, dtype=bool)]
        each = self.cost / self.sampler.cost(1) / count if count else inf
        return Expansion(
            offspring=tuple(self.kept),
            cosine=cosine,
            probed=self.probed,
            apart=self.apart,
            bar=self.acceptance.needed,
            semantic_limit=self.acceptance.semantic_limit if isfinite(self.acceptance.semantic_limit) else None,
            tried=self.tried,
            vendi=effective_number(similarity) if count else 0.0,
            distances=(float(pairs.min()), float(pairs.mean()), float(pairs.max())) if count > 1 else (0.0, 0.0, 0.0),
            network_evaluations=self.cost,
            plain_samples_each=each,
            seconds=time.perf_counter() - self.began,
        )


def _between(parents: Sequence[Seed], weights: Tensor) -> Tensor:
    """``r · norm(Σ w_k z_k)`` of seeds that lean on each other: siblings are close, so they are not whitened."""
    noise = stacked(parents).double()
    length = sphere.norm(noise).mean()
    summed = (weights.view(-1, 1, 1, 1) * noise).sum(0, keepdim=True)
    return torch.as_tensor(sphere.retract(summed, length)[0].float())


def _similarity(embeddings: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    if not embeddings:
        return np.zeros((0, 0))
    stacked_up = torch.stack(list(embeddings)).cpu().double().numpy()
    return np.asarray(stacked_up @ stacked_up.T, np.float64)
