"""Many images from one find: seeds around it, as far from it and from each other as acceptance lets them be.

A seed that draws a rare concept right was expensive; seeds near it are nearly free and mostly right too. How near depends on the concept
and the model, so it is found out:

1. How near the finds' own images are to the references says how near others must be (:attr:`Plan.strict`).
2. Of the cosines in :attr:`Plan.cosines` the smallest (the most variation) is sought at which :attr:`Plan.wanted` of the neighbours are
   still accepted.
3. Neighbours are drawn there, further out where they turn out too alike and nearer where too many are rejected, and accepted seeds are
   mixed, whichever of the two is kept more often.

It accepts as a trial does (:mod:`seedbank.selection.judging.acceptance`). What is accepted in a batch is drawn again, as it will be kept
and replayed, judged again, and must differ from everything accepted before.

All of it but the seconds is a pure function of its arguments: to resume is to call it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.records import canonical_json, sha256
from seedbank.selection.expansion.results import ExpandedImage, ExpansionResult
from seedbank.selection.judging.acceptance import Acceptance, Judgement
from seedbank.selection.judging.diversity import effective_number
from seedbank.selection.judging.guard import Guard
from seedbank.selection.records import Attempts, Distances, ExpansionScores, SeedKind
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.mixes import mixed, neighbours, on_sphere, repelled
from seedbank.selection.sampling.noise import generator, stacked, to_numpy
from seedbank.selection.sampling.sampler import Sampler, from_pixels
from seedbank.selection.seeds import Lineage, Seed

FEWEST_MIXED = 4
"""Accepted images before which nothing is mixed."""
FARTHEST = 2.0
"""The largest ``1 - cosine`` there is."""


@dataclass(frozen=True)
class Plan:
    """How a find is expanded.

    Attributes:
        cosines: of neighbours to the find, from the nearest to the furthest.
        wanted: share of neighbours that must be accepted at a cosine.
        probe: neighbours drawn to learn that share; those accepted are kept.
        batch: seeds drawn at once.
        mixed: seeds in one mix; below 2 nothing is mixed.
        strict: how near the references an image must be: 0 at the guard's threshold, 1 as near as the find itself. The further above
            the threshold, the more often the auditor agrees.
        min_distance: least distance (1 - cosine of the guard's embeddings) between two accepted images; None takes
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
    min_distance: float | None = None
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
) -> ExpansionResult:
    """Up to ``count`` accepted, pairwise distinct images from seeds around ``finds``.

    Args:
        sampler: draws them.
        acceptance: accepts or rejects; its guard measures distance.
        finds: seeds that draw the concept right.
        count: how many images are wanted; fewer come back where the budget ends first.
        root: what all random draws derive from.
        plan: how far to go, how many at once.
        observe: told how many are accepted, of how many.

    Raises:
        UsageError: no find, or a seed of another shape than the sampler's.
    """
    began = time.perf_counter()
    _check(sampler, finds)
    plan = plan or Plan()
    task = _Task(
        sampler=sampler,
        acceptance=acceptance,
        finds=tuple(finds),
        count=count,
        root=root,
        plan=plan,
        min_distance=natural_distance(acceptance.guard) if plan.min_distance is None else plan.min_distance,
        observe=observe,
    )
    # 1. What is asked of an image.
    task, state = _asking_enough(task)
    # 2. How far out neighbours are still accepted.
    state = _probe(task, state)
    furthest = state.place
    # 3. Images, until there are enough of them, nothing more comes or the budget is spent.
    barren = 0
    while len(state.images) < count and barren < plan.patience and task.affords(state, plan.batch):
        before = state
        state = _step(task, state)
        barren = barren + 1 if len(state.images) == len(before.images) else 0
    return _result(task, state, plan.cosines[furthest], time.perf_counter() - began)


def natural_distance(guard: Guard, least: float = 0.01) -> float:
    """Half of how far the two most alike references are apart, at least ``least``.

    Half, because references are chosen for being unlike each other, and two images nearer than they are still differ visibly.
    """
    if len(guard.prototypes) < 2:
        return least
    pairs = 1 - guard.prototypes @ guard.prototypes.T
    own = torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    return max(float(pairs.masked_fill(own, torch.inf).min()) / 2, least)


@dataclass(frozen=True)
class _Task:
    """What one expansion is asked for."""

    sampler: Sampler
    acceptance: Acceptance
    finds: tuple[Seed, ...]
    count: int
    root: str
    plan: Plan
    min_distance: float
    observe: Callable[[int, int], None]

    def affords(self, state: _State, batch: int) -> bool:
        """Whether drawing ``batch`` more stays within the budget."""
        # at least a batch's worth, or a single wanted image could not pay for a probe
        images = max(self.count, self.plan.batch)
        return state.cost + self.sampler.cost(batch) <= self.plan.budget * images * self.sampler.cost(1)


@dataclass(frozen=True)
class _State:
    """How far it is: what was kept, and how the attempts ended."""

    cost: int = 0
    """Network evaluations."""
    proposed: int = 0
    """Neighbours, so that no direction is taken twice."""
    place: int = 0
    """Which of the plan's cosines neighbours are drawn at."""
    images: tuple[ExpandedImage, ...] = ()
    guard_embeddings: tuple[Tensor, ...] = ()
    attempts: Mapping[SeedKind, Attempts] = field(default_factory=lambda: {"neighbour": Attempts(), "mix": Attempts()})
    probed: Mapping[float, float] = field(default_factory=dict)

    def noting(self, kind: SeedKind, **more: int) -> _State:
        """With these attempts counted."""
        return replace(self, attempts={**self.attempts, kind: self.attempts[kind] + Attempts(**more)})


@dataclass(frozen=True)
class _Proposal:
    """Noise ``[C, h, w]`` on the CPU, and where it came from."""

    noise: Tensor
    lineage: Lineage


def _check(sampler: Sampler, finds: Sequence[Seed]) -> None:
    if not finds:
        raise UsageError(
            "expected at least one seed to expand, got none; name an accepted candidate of a finished trial"
        )
    for find in finds:
        if find.latents.shape != sampler.noise_shape:
            raise UsageError(
                f"expected seeds of shape {sampler.noise_shape}, got {find.latents.shape}; expand with the model they were found with"
            )


@torch.no_grad()
def _asking_enough(task: _Task) -> tuple[_Task, _State]:
    """With the margin that the plan asks for: its share of how much nearer than the threshold the worst find is, drawn as it is kept."""
    sampler, guard = task.sampler, task.acceptance.guard
    if not task.plan.strict:
        return task, _State()
    images = from_pixels(sampler.draw(stacked(task.finds))).to(sampler.family.device)
    # by the worst find, so that every find meets it; a find below the threshold must not loosen the rule
    margin = task.plan.strict * max(float(guard.similarity(images).min()) - guard.threshold, 0.0)
    return replace(task, acceptance=replace(task.acceptance, margin=margin)), _State(cost=sampler.cost(len(images)))


def _probe(task: _Task, state: _State) -> _State:
    """At the smallest cosine at which enough is accepted, by bisection; what the probes find is kept."""
    # bisection holds because acceptance falls with the cosine
    plan, near, far = task.plan, 0, len(task.plan.cosines)  # `near` is taken to hold, `far` to fail
    while far - near > 1 and len(state.images) < task.count and task.affords(state, plan.probe):
        middle = (near + far) // 2
        before, state = state, _attempt_neighbours(task, replace(state, place=middle), plan.probe)
        ended = state.attempts["neighbour"] - before.attempts["neighbour"]
        share = ended.accepted / ended.drawn
        state = replace(state, probed={**state.probed, plan.cosines[middle]: share})
        near, far = (middle, far) if share >= plan.wanted else (near, middle)
    return replace(state, place=near)


def _step(task: _Task, state: _State) -> _State:
    """One batch of the kind that promises more, and where the next neighbours are drawn."""
    if _promising(task.plan, state) == "mix":
        return _attempt(task, state, "mix", _mixes(task, state))
    after = _attempt_neighbours(task, state, task.plan.batch)
    return replace(after, place=_next_place(task.plan, state, after))


def _promising(plan: Plan, state: _State) -> SeedKind:
    """The kind that is kept more often, of equals the one tried less; mixes only once there is something to mix."""
    if plan.mixed < 2 or len(state.images) < max(plan.mixed, FEWEST_MIXED):
        return "neighbour"
    mix, neighbour = state.attempts["mix"], state.attempts["neighbour"]
    better = (mix.kept_rate, -mix.drawn) > (neighbour.kept_rate, -neighbour.drawn)
    return "mix" if better else "neighbour"


def _next_place(plan: Plan, before: _State, after: _State) -> int:
    """One step further out where most of a batch was too alike, one step nearer where most of it was rejected."""
    ended = after.attempts["neighbour"] - before.attempts["neighbour"]
    rejected = ended.drawn - ended.accepted
    # a few odd images must not move it: a majority of the failures, and a fair share of the batch
    if ended.too_alike > max(rejected, ended.drawn / 4):
        return min(before.place + 1, len(plan.cosines) - 1)
    return max(before.place - 1, 0) if rejected > max(ended.too_alike, ended.drawn / 2) else before.place


def _attempt_neighbours(task: _Task, state: _State, count: int) -> _State:
    """``count`` neighbours of the finds, in turn, at the state's cosine: antithetic pairs share a find."""
    cosine, first = task.plan.cosines[state.place], state.proposed
    parents = [task.finds[(first + row) // 2 % len(task.finds)] for row in range(count)]
    across = repelled(f"{task.root}/around", range(first, first + count), task.sampler.noise_shape)
    proposals = [
        _Proposal(
            noise,
            Lineage(kind="neighbour", parents=(parent.digest,), recipe=task.plan.digest, note=f"cosine {cosine}"),
        )
        for noise, parent in zip(neighbours(stacked(parents), across, cosine), parents, strict=True)
    ]
    # an odd count leaves half a pair: the next batch begins a new one
    return _attempt(task, replace(state, proposed=first + count + count % 2), "neighbour", proposals)


def _mixes(task: _Task, state: _State) -> list[_Proposal]:
    """Mixes of a few accepted seeds each, all with weights of one sign: between them, not beyond."""
    # numbered by the mixes drawn before, so that a resumed expansion mixes the same
    random = generator(task.root, "mix", state.attempts["mix"].drawn)
    found = []
    for _ in range(task.plan.batch):
        picked = random.choice(len(state.images), task.plan.mixed, replace=False)
        parents = [state.images[index].seed for index in picked]
        # [1, P]
        weights = on_sphere(1, len(parents), random).abs()
        found.append(_Proposal(_between(parents, weights), mixed(parents, weights, task.plan.digest)[0]))
    return found


@torch.no_grad()
def _attempt(task: _Task, state: _State, kind: SeedKind, proposals: Sequence[_Proposal]) -> _State:
    """Draw a batch, judge it, and keep what is accepted and unlike what is there."""
    sampler = task.sampler
    # 1. All of them together, as fast as they come.
    noise = torch.stack([proposal.noise for proposal in proposals]).to(sampler.family.device)
    judgements = task.acceptance.judge(sampler.family.decode(sampler.denoise(noise)).clamp(0, 1))
    accepted = [pair for pair in zip(proposals, judgements, strict=True) if pair[1].accepted]
    state = replace(state, cost=state.cost + sampler.cost(len(noise)))
    state = state.noting(kind, drawn=len(proposals), accepted=len(accepted))
    # 2. Of what is accepted, what differs from all that was kept and from the others.
    promising, others = list[Seed](), state.guard_embeddings
    for proposal, judged in accepted:
        if len(state.images) + len(promising) == task.count:
            break
        if _distance(others, judged.guard_embedding) < task.min_distance:
            state = state.noting(kind, too_alike=1)
            continue
        promising.append(Seed(to_numpy(proposal.noise), proposal.lineage))
        others = (*others, judged.guard_embedding)
    # 3. Those again, as they are kept and replayed.
    if promising:
        pixels = sampler.draw(stacked(promising))
        state = replace(state, cost=state.cost + sampler.cost(len(promising)))
        judgements = task.acceptance.judge(from_pixels(pixels).to(sampler.family.device))
        for seed, image, judged in zip(promising, pixels, judgements, strict=True):
            state = _keep(task, state, kind, seed, pixels=image, judged=judged)
    task.observe(len(state.images), task.count)
    return state


def _keep(
    task: _Task, state: _State, kind: SeedKind, seed: Seed, *, pixels: npt.NDArray[np.uint8], judged: Judgement
) -> _State:
    """With this image, if it is still accepted and unlike all that were kept before."""
    distance = _distance(state.guard_embeddings, judged.guard_embedding)
    if not judged.accepted:
        return state.noting(kind, rejected_again=1)
    if distance < task.min_distance:
        return state.noting(kind, too_alike=1)
    noise, origins = stacked([seed]), _parents(task, state, seed)
    scores = ExpansionScores(
        guard=judged.guard,
        copy_score=judged.copy_score,
        semantic=judged.semantic,
        distance=distance,
        cosine=float(sphere.cosine(noise.expand_as(origins), origins).max()),
        norm_z=float(sphere.norm_score(noise)),
        whiteness=float(sphere.whiteness(noise)),
    )
    return replace(
        state,
        images=(*state.images, ExpandedImage(seed, pixels, scores)),
        guard_embeddings=(*state.guard_embeddings, judged.guard_embedding),
    )


def _distance(guard_embeddings: Sequence[Tensor], guard_embedding: Tensor) -> float:
    """``1 - cosine`` to the nearest of several."""
    if not guard_embeddings:
        return FARTHEST
    # [n, G] @ [G] of unit vectors: cosines
    return float((1 - torch.stack(list(guard_embeddings)) @ guard_embedding).min())


def _parents(task: _Task, state: _State, seed: Seed) -> Tensor:
    """The noise ``[P, C, h, w]`` of the seeds that it was made from."""
    known = {each.digest: each for each in (*task.finds, *(image.seed for image in state.images))}
    return stacked([known[digest] for digest in seed.lineage.parents])


def _between(parents: Sequence[Seed], weights: Tensor) -> Tensor:
    """``r · norm(Σ w_k z_k)`` of seeds that lean on each other: siblings are close, so they are not whitened."""
    noise = stacked(parents).double()
    length = sphere.norm(noise).mean()
    summed = (weights.view(-1, 1, 1, 1) * noise).sum(0, keepdim=True)
    return torch.as_tensor(sphere.retract(summed, length)[0].float())


def _result(task: _Task, state: _State, cosine: float, seconds: float) -> ExpansionResult:
    count, limit = len(state.images), task.acceptance.semantic_limit
    vendi, distances = 0.0, Distances()
    if count:
        # float64: eigenvalues near 0 go into a logarithm
        embeddings = torch.stack(state.guard_embeddings).cpu().double().numpy()
        similarity = embeddings @ embeddings.T
        vendi = effective_number(similarity)
        if count > 1:
            pairs = 1 - similarity[~np.eye(count, dtype=bool)]
            distances = Distances(least=float(pairs.min()), mean=float(pairs.mean()), most=float(pairs.max()))
    return ExpansionResult(
        images=state.images,
        cosine=cosine,
        probed=state.probed,
        min_distance=task.min_distance,
        needed=task.acceptance.needed,
        semantic_limit=limit if isfinite(limit) else None,
        attempts=state.attempts,
        vendi=vendi,
        distances=distances,
        network_evaluations=state.cost,
        plain_samples_each=state.cost / task.sampler.cost(1) / count if count else inf,
        seconds=seconds,
    )
