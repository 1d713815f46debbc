"""Search without gradients: each engine finds a hidden seed, and the scores it was told are its whole state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from seedbank.errors import UsageError
from seedbank.evaluation.engines import BayesianMixes, Engine, EvolvedMixes, RestartedNeighbours
from seedbank.evaluation.engines.base import Asked, replay
from seedbank.evaluation.engines.bayes import BayesSettings, posterior
from seedbank.evaluation.engines.zero_order import NeighbourSettings
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.mixes import Basis
from seedbank.selection.sampling.noise import plain_seed

SHAPE = (4, 8, 8)
ELITES = [plain_seed("elites", index, SHAPE) for index in range(6)]
Build = Callable[[str], Engine]

ENGINES: dict[str, Build] = {
    "bayes": lambda root: BayesianMixes(ELITES, root, settings=BayesSettings(candidates=64, initial=1)),
    "cma": lambda root: EvolvedMixes(ELITES, root),
    "zero_order": lambda root: RestartedNeighbours(ELITES, root, SHAPE),
}
engines = pytest.mark.parametrize("build", ENGINES.values(), ids=ENGINES)


def hidden() -> torch.Tensor:
    """A mix of the elites that no elite is near."""
    return Basis.of(torch.stack([torch.from_numpy(seed.latents.copy()) for seed in ELITES])).mix(
        torch.tensor([[1.0, -1, 1, 1, -1, 1]])
    )


def score(noise: torch.Tensor) -> torch.Tensor:
    return 1 - sphere.cosine(noise, hidden())


def run(engine: Engine, rounds: int) -> tuple[list[Asked], list[torch.Tensor]]:
    asked, told = [], []
    for _ in range(rounds):
        asked.append(engine.ask())
        told.append(score(asked[-1].noise))
        engine.tell(told[-1])
    return asked, told


@engines
def test_the_same_root_and_scores_give_the_same_proposals(build: Build) -> None:
    one, _ = run(build("a"), 3)
    two, _ = run(build("a"), 3)
    other, _ = run(build("b"), 3)
    assert all(torch.equal(a.noise, b.noise) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a.noise, b.noise) for a, b in zip(one, other, strict=True))


@engines
def test_replayed_scores_bring_it_to_where_it_was(build: Build) -> None:
    asked, told = run(build("a"), 4)
    resumed = replay(build("a"), [scores.tolist() for scores in told[:3]])
    assert torch.equal(resumed.ask().noise, asked[3].noise)
    assert resumed.ask().lineages == asked[3].lineages


@engines
def test_asking_twice_is_asking_once(build: Build) -> None:
    engine = build("a")
    assert torch.equal(engine.ask().noise, engine.ask().noise)


@engines
def test_every_proposal_is_on_the_shell_with_parents_that_were_known_before(build: Build) -> None:
    asked, _ = run(build("a"), 6)
    lengths = torch.cat([sphere.norm(batch.noise).flatten() for batch in asked])
    low, high = (f(seed.latents.astype(float).__pow__(2).sum() ** 0.5 for seed in ELITES) for f in (min, max))
    assert low - 1e-3 <= float(lengths.min()) <= float(lengths.max()) <= high + 1e-3
    known = {seed.digest for seed in ELITES}
    for batch in asked:
        for row, lineage in enumerate(batch.lineages):
            assert lineage.kind in ("mix", "neighbour", "drawn")
            assert set(lineage.parents) <= known
            known.add(batch.seed(row).digest)


@engines
def test_a_score_that_is_no_number_is_the_worst(build: Build) -> None:
    engine = build("a")
    for _ in range(4):
        scores = score(engine.ask().noise)
        scores[0] = torch.nan
        engine.tell(scores)
    assert bool(torch.isfinite(engine.ask().noise).all())


@engines
def test_scores_that_do_not_fit_are_refused(build: Build) -> None:
    engine = build("a")
    with pytest.raises(UsageError, match=r"expected ask\(\) before tell\(\)"):
        engine.tell(torch.zeros(1))
    count = len(engine.ask())
    with pytest.raises(UsageError, match=f"expected {count} scores, one for each seed asked for"):
        engine.tell(torch.zeros(count + 1))


@pytest.mark.parametrize("name", ["bayes", "cma"])
def test_on_the_sphere_of_mixes_it_beats_random_mixes(name: str) -> None:
    asked, told = run(ENGINES[name]("a"), 12)
    evaluations = sum(map(len, asked))
    weights = torch.randn(evaluations, 6, generator=torch.Generator().manual_seed(1))
    random = score(Basis.of(torch.stack([torch.from_numpy(seed.latents.copy()) for seed in ELITES])).mix(weights))
    assert float(torch.cat(told).min()) < 0.5 * float(random.min())


def test_known_scores_of_the_elites_are_not_asked_for_again() -> None:
    scores = [float(score(torch.from_numpy(seed.latents.copy())[None])) for seed in ELITES]
    first = BayesianMixes(ELITES, "a", known=scores).ask()
    assert not any((first.seed(row).latents == ELITES[0].latents).all() for row in range(4))
    unknown = BayesianMixes(ELITES, "a").ask()
    assert float(sphere.cosine(unknown.noise[:1], torch.from_numpy(ELITES[0].latents.copy())[None])) > 0.98
    with pytest.raises(UsageError, match="a known score of each of 6 elites, or none, got 2"):
        BayesianMixes(ELITES, "a", known=[0.1, 0.2])


def test_the_search_narrows_after_failures_and_widens_after_successes() -> None:
    settings = BayesSettings(candidates=64, failures=2, initial=1)
    stuck = BayesianMixes(ELITES, "a", known=[0.0] * 6, settings=settings)
    centre = torch.from_numpy(ELITES[0].latents.copy())[None]
    spreads = []
    for _ in range(7):
        batch = stuck.ask()
        spreads.append(float(sphere.cosine(batch.noise, centre).min()))
        stuck.tell(torch.ones(len(batch)))
    assert spreads[-1] > spreads[0] + 0.3


def test_the_model_believes_what_it_was_told() -> None:
    points = torch.eye(4, dtype=torch.float64)
    scores = torch.tensor([3.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    mean, root = posterior(points, scores, points)
    assert mean.argsort().tolist() == scores.argsort().tolist()
    assert bool(torch.isfinite(root).all())


def test_zero_order_climbs_around_its_start_and_looks_ever_closer() -> None:
    settings = NeighbourSettings(batch=4, rounds=4, patience=99)
    engine = RestartedNeighbours(ELITES, "a", SHAPE, settings)
    start = engine.ask()
    assert start.seed(0) == ELITES[0]
    engine.tell(torch.zeros(1))
    cosines = []
    for _ in range(5):
        batch = engine.ask()
        cosines.append(float(sphere.cosine(batch.noise, start.noise).mean()))
        engine.tell(torch.ones(4))
    torch.testing.assert_close(
        torch.tensor(cosines), torch.tensor([0.7, 0.7833, 0.8667, 0.95, 0.95]), atol=1e-3, rtol=0
    )


def test_zero_order_restarts_from_the_next_seed_and_then_from_fresh_ones() -> None:
    engine = RestartedNeighbours(ELITES[:2], "a", SHAPE, NeighbourSettings(patience=1))
    starts = []
    for _ in range(3):
        starts.append(engine.ask().seed(0))
        engine.tell(torch.zeros(1))
        engine.tell(torch.ones(len(engine.ask())))
    assert starts == [*ELITES[:2], plain_seed("a", 2, SHAPE)]


def test_zero_order_improves_on_its_start() -> None:
    engine = RestartedNeighbours(ELITES[1:2], "a", SHAPE, NeighbourSettings(patience=10, rounds=4))
    _, told = run(engine, 20)
    assert min(float(scores.min()) for scores in told) < float(told[0]) - 0.1
