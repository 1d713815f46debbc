"""One harness for all methods: the same problems, the same starts, the same budget, and a judge that none of them knows.

A :class:`Method` is given a :class:`Problem`, some plain seeds to start from and a :class:`Budget` of network evaluations, of seconds, or
of both, and gives one picture for each start. The auditor then says which of them are right; it has no say in anything before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.evaluation.machine import machine
from seedbank.models.peak import PeakMemory
from seedbank.selection.judging.acceptance import Acceptance, make_acceptance
from seedbank.selection.judging.diversity import effective_number
from seedbank.selection.judging.guard import Embed
from seedbank.selection.judging.targets import Encoder, Targets
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.noise import draws, plain_seed, stacked
from seedbank.selection.sampling.sampler import Sampler, from_pixels, make_sampler, to_pixels
from seedbank.selection.search.objective import LowFrequency, Objective, Semantic
from seedbank.selection.search.recipes import BALANCED
from seedbank.trials.audit import Pixels, Success, label_of, success

if TYPE_CHECKING:
    from seedbank.models import Auditor
    from seedbank.selection.records import SamplerConfig
    from seedbank.selection.seeds import Seed


POOL = 64
"""Plain seeds that tell the guard what the model draws instead of a concept; nobody pays for them."""
CRITERIA = BALANCED
"""The recipe whose acceptance judges all methods, so that they are judged alike."""


def our_objective(problem: Problem) -> Objective:
    """The soft-nearest semantic loss with a weak coarse appearance."""
    targets = problem.targets
    terms = (Semantic(targets), LowFrequency(targets))
    return Objective(terms, problem.sampler.family.decode, problem.encoder)


@dataclass(frozen=True)
class Problem:
    """One concept to be drawn by one pipeline, and what all methods are given for it.

    Attributes:
        concept: its name, which the auditor must know.
        prompt: what the pipeline is asked for.
        references: photos, ``[K, 3, H, W]`` in 0..1.
        training_images: how often the model saw the concept; for the report.
        pipeline: the model.
        config: how it is sampled.
        encoder: whose gradient may be followed.
        embed: the guard's embedding.
        make_objective: what methods that do not bring their own minimise.
    """

    concept: str
    prompt: str
    references: Tensor
    training_images: int
    pipeline: Any
    config: SamplerConfig
    encoder: Encoder
    embed: Embed
    make_objective: Callable[[Problem], Objective] = our_objective

    @cached_property
    def sampler(self) -> Sampler:
        """Noise to images."""
        return make_sampler(self.pipeline, self.prompt, self.config)

    @cached_property
    def photos(self) -> Tensor:
        """The references where the networks are."""
        return self.references.to(self.sampler.family.device)

    @cached_property
    def targets(self) -> Targets:
        """The references in the objective's spaces."""
        return self._unexplored.targets

    @cached_property
    def objective(self) -> Objective:
        """What is minimised."""
        return self.make_objective(self)

    @cached_property
    def acceptance(self) -> Acceptance:
        """The rule: made from the references and, for all methods alike, from what :data:`POOL` plain seeds give."""
        with torch.no_grad():
            # Of a root of their own: the guard learns from other seeds than those that methods start from.
            noise = draws(f"{self.concept}/pool", range(POOL), self.sampler.noise_shape)
            images = self.sampler.family.decode(self.sampler.denoise(noise.to(self.sampler.family.device))).clamp(0, 1)
            return self._unexplored.against(self._unexplored.guard.embed(images))

    @cached_property
    def _unexplored(self) -> Acceptance:
        """The rule before anything is known of what plain seeds draw."""
        return make_acceptance(
            self.photos, self.sampler.family, encoder=self.encoder, guard_encoder=self.embed, criteria=CRITERIA
        )

    def tuned(self, pipeline: Any, prompt: str) -> Problem:
        """The same problem for another pipeline and prompt."""
        return replace(self, pipeline=pipeline, prompt=prompt)


class Spent(NamedTuple):
    """A point of a method's way: what it had spent, and how good its best were by then."""

    network_evaluations: int
    objective: float
    """The best so far, averaged over the starts."""


NO_LIMIT = "unlimited"
"""Label of a budget that has no limit."""


@dataclass(frozen=True)
class Budget:
    """What a method may spend on all starts together, the final drawing included. None is without limit."""

    label: str = NO_LIMIT
    network_evaluations: int | None = None
    seconds: float | None = None


@dataclass
class Meter:
    """Counts what a method spends and says whether more is allowed."""

    budget: Budget
    reserve: int = 0
    """Network evaluations kept back for the final drawing."""
    spent: int = 0
    _start: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the method began."""
        return time.perf_counter() - self._start

    @property
    def remaining(self) -> int:
        """Network evaluations that may still be spent before the final drawing; very many without a limit."""
        limit = self.budget.network_evaluations
        # An integer, because methods divide it into whole images.
        return 2**62 if limit is None else limit - self.reserve - self.spent

    def spend(self, network_evaluations: int) -> None:
        """Note what was spent."""
        self.spent += network_evaluations

    def affords(self, network_evaluations: int, share: float = 1.0) -> bool:
        """Whether so many more evaluations fit, and by the speed so far, the time for them and for the final drawing.

        ``share`` of the seconds may be gone afterwards.
        """
        if network_evaluations > self.remaining:
            return False
        if self.budget.seconds is None:
            return True
        # t + e n <= share (T - e reserve), with e the seconds of one evaluation so far.
        each = self.seconds / self.spent if self.spent else 0.0
        return self.seconds + each * network_evaluations <= share * (self.budget.seconds - each * self.reserve)


@dataclass(frozen=True)
class Outcome:
    """What a method made: one picture for each start, each drawn alone and judged.

    Attributes:
        images: ``[H, W, 3]`` each.
        accepted: as a trial accepts.
        objective: of the final pictures, ``Problem.objective`` for every method.
        copies: which are too like a reference.
        norm_z: standard deviations of each seed's norm from a Gaussian's.
        whiteness: largest whiteness score of each seed.
        network_evaluations: spent, the final drawing included.
        seconds: spent, the final drawing included.
        trace: as the method went.
    """

    images: tuple[Pixels, ...]
    accepted: tuple[bool, ...]
    objective: tuple[float, ...]
    copies: tuple[bool, ...]
    norm_z: tuple[float, ...]
    whiteness: tuple[float, ...]
    network_evaluations: int
    seconds: float
    trace: tuple[Spent, ...] = ()


class Method(Protocol):
    """A way to get pictures of a concept."""

    @property
    def name(self) -> str:
        """As it stands in tables."""

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """One picture for each start, within the budget. Deterministic unless the budget is of seconds."""


@torch.no_grad()
def finish(
    problem: Problem,
    seeds: Sequence[Seed],
    meter: Meter,
    trace: Sequence[Spent] = (),
    *,
    asked: Problem | None = None,
) -> Outcome:
    """Draw seeds alone and judge the pictures, the last thing every method does.

    ``asked`` is the problem as it was given, where ``problem`` has a tuned pipeline: its guard and objective judge.
    """
    judged, sampler = asked or problem, problem.sampler
    # One at a time: within a batch an image's last bits may depend on the others.
    scored = [judged.objective.score(sampler.finish(torch.from_numpy(seed.latents.copy())[None])) for seed in seeds]
    objective = [float(found.objective) for found in scored]
    pixels = [to_pixels(found.images)[0] for found in scored]
    # Judged as a trial judges: the 8 bits that are kept.
    images = from_pixels(np.stack(pixels)).to(sampler.family.device)
    acceptance, noise = judged.acceptance, stacked(seeds)
    judgements = acceptance.judge(images)
    meter.spend(sampler.cost(len(seeds)))
    return Outcome(
        images=tuple(pixels),
        accepted=tuple(found.accepted for found in judgements),
        objective=tuple(objective),
        copies=tuple(found.copy_score >= acceptance.guard.copy_limit for found in judgements),
        norm_z=tuple(sphere.norm_score(noise).tolist()),
        whiteness=tuple(sphere.whiteness(noise).tolist()),
        network_evaluations=meter.spent,
        seconds=meter.seconds,
        trace=tuple(trace),
    )


@dataclass(frozen=True)
class BenchmarkRow:
    """One method on one concept, once: what the auditor and the counters say. Tuples have one entry for each start."""

    method: str
    budget: str
    concept: str
    training_images: int
    repeat: int
    right: tuple[bool, ...]
    """By the auditor."""
    confidence: tuple[float, ...]
    """The auditor's probability of the concept."""
    accepted: tuple[bool, ...]
    objective: tuple[float, ...]
    vendi: float
    """Effective number of different pictures under the guard's embedding."""
    copy_rate: float
    norm_z: float
    """Mean absolute value."""
    whiteness: float
    """Mean of the seeds' largest scores."""
    network_evaluations: int
    seconds: float
    peak_mib: float | None
    trace: tuple[Spent, ...] = ()
    machine: str = ""
    """What it was measured on; empty where that was not noted."""

    @property
    def success(self) -> Success:
        """Of all pictures."""
        return success(np.array(self.right, bool))

    @property
    def accepted_success(self) -> Success:
        """Of the accepted pictures."""
        return success(np.array(self.right, bool)[np.array(self.accepted, bool)])


def run_benchmark(
    methods: Iterable[Method],
    problems: Sequence[Problem],
    auditor: Auditor,
    *,
    budgets: Callable[[Problem], Sequence[Budget]],
    starts: int = 16,
    repeats: int = 3,
    root: str = "0",
    known: Sequence[BenchmarkRow] = (),
    observe: Callable[[BenchmarkRow], None] = lambda _row: None,
) -> list[BenchmarkRow]:
    """Every method on every problem, with each budget, ``repeats`` times from ``starts`` other plain seeds.

    Args:
        methods: in the order of the table.
        problems: the concepts.
        auditor: judges, and does nothing else.
        budgets: what may be spent on a problem.
        starts: plain seeds of one run.
        repeats: runs, each from starts of its own; all methods get the same ones.
        root: what the starts derive from.
        known: rows measured before, which are not measured again.
        observe: told each row when it is had.

    Raises:
        UsageError: the auditor does not know a concept.
    """
    # All concepts first: one that the auditor does not know must not come to light after hours of measuring.
    for problem in problems:
        _label(auditor, problem)
    had = {(row.method, row.concept, row.budget, row.repeat, len(row.right)): row for row in known}
    rows = []
    for method in methods:
        for problem in problems:
            for budget in budgets(problem):
                for repeat in range(repeats):
                    if row := had.get((method.name, problem.concept, budget.label, repeat, starts)):
                        rows.append(row)
                        continue
                    shape = problem.sampler.noise_shape
                    seeds = [plain_seed(f"{root}/{repeat}", index, shape) for index in range(starts)]
                    rows.append(measure(method, problem, auditor, starts=seeds, budget=budget, repeat=repeat))
                    observe(rows[-1])
    return rows


def measure(
    method: Method, problem: Problem, auditor: Auditor, *, starts: Sequence[Seed], budget: Budget, repeat: int = 0
) -> BenchmarkRow:
    """Run one method once and let the auditor judge."""
    label = _label(auditor, problem)
    _ = problem.acceptance, problem.objective  # made outside the method's time: all methods are given them
    with PeakMemory(problem.sampler.family.device) as memory:
        outcome = method.run(problem, starts, budget)
    images = from_pixels(np.stack(outcome.images))
    with torch.no_grad():
        logits = auditor(images.to(next(auditor.network.parameters()).device)).cpu()
        embeddings = problem.acceptance.guard.embed(images.to(problem.sampler.family.device)).cpu().double()
    return BenchmarkRow(
        method=method.name,
        budget=budget.label,
        concept=problem.concept,
        training_images=problem.training_images,
        repeat=repeat,
        right=tuple(logits.argmax(1).eq(label).tolist()),
        confidence=tuple(logits.softmax(1)[:, label].tolist()),
        accepted=outcome.accepted,
        objective=outcome.objective,
        vendi=effective_number((embeddings @ embeddings.T).numpy()),
        copy_rate=float(np.mean(outcome.copies)),
        norm_z=float(np.abs(outcome.norm_z).mean()),
        whiteness=float(np.mean(outcome.whiteness)),
        network_evaluations=outcome.network_evaluations,
        seconds=outcome.seconds,
        peak_mib=memory.mib,
        trace=outcome.trace,
        machine=machine(problem.sampler.family.device),
    )


def _label(auditor: Auditor, problem: Problem) -> int:
    label = label_of(auditor, problem.concept)
    if label is None:
        known = ", ".join(auditor.labels)
        raise UsageError(f"expected a concept that the auditor knows, got {problem.concept!r}; it knows {known}")
    return label
