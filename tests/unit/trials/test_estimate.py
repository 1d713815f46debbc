"""What a search is said to take, against what real searches of a tiny pipeline then cost; and the time that is left of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from seedbank.selection import BALANCED, FAST, SEEDSELECT_V1, THOROUGH, Event, Recipe, Selection, select
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling import calibrate
from seedbank.selection.sampling.inversion import ROUNDS
from seedbank.selection.search.name_effect import UNNAMED
from seedbank.selection.search.recipes import CALIBRATED, Explore, Stop
from seedbank.trials import estimate as module
from seedbank.trials.estimate import drawing, estimate, gradient, iterations_until, sampling
from seedbank.trials.observe import mode_of, position_of
from seedbank.trials.pace import Forecast, Pace
from seedbank.trials.speeds import keep_speeds, read_speeds
from seedbank.trials.workload import ITERATION, REFERENCE, Position, Search, Speeds

NEVER = Stop(stale=0, hacked=0, cornered=0)
RACE = replace(BALANCED, explore=Explore(size=6, batch=4), iterations=5, spare=2.0, stop=NEVER)
WHOLE = replace(
    THOROUGH, explore=replace(THOROUGH.explore, size=6, batch=4), iterations=2, stop=NEVER, gradient="last:2"
)
PAPER = replace(SEEDSELECT_V1, explore=Explore(size=3, ranked=False), iterations=2)
STARTS, PLAIN = 3, 2

Run = Callable[[Recipe, list[Event]], Selection]


@pytest.fixture(scope="module")
def run(pipeline: Any, photos: Any, encoder: Any, guard: Any, sampler_config: SamplerConfig) -> Run:
    def _run(recipe: Recipe, events: list[Event]) -> Selection:
        return select(
            pipeline,
            "ab",
            photos,
            encoder=encoder,
            guard_encoder=guard,
            recipe=recipe,
            starts=STARTS,
            plain=PLAIN,
            config=sampler_config,
            observe=events.append,
        )

    return _run


def asked(recipe: Recipe, **changes: Any) -> Search:
    """As the tiny pipeline is asked: four steps, guided, five photos."""
    fields = {"starts": STARTS, "plain": PLAIN, "steps": 4, "branches": 2, "references": 5, **changes}
    return Search(recipe=recipe, **fields)


@pytest.mark.parametrize(
    "recipe",
    [
        RACE,
        replace(RACE, gradient="full", spare=1.0),
        replace(RACE, gradient=CALIBRATED, iterations=1),
        WHOLE,
        PAPER,
    ],
    ids=["race", "full", "calibrated", "previews and inverted references", "paper"],
)
def test_where_nothing_ends_early_it_is_what_the_search_then_costs(run: Run, recipe: Recipe) -> None:
    events: list[Event] = []
    found = run(recipe, events)
    mode = found.calibration.chosen if found.calibration else ""
    said = estimate(asked(recipe, mode=mode))
    doubt = UNNAMED * sampling(asked(recipe)).each
    assert said.network_evaluations == said.most_network_evaluations - doubt
    assert found.cost.network_evaluations == said.network_evaluations


def test_a_search_that_ends_early_costs_less_than_the_most_and_the_expected_lies_between(run: Run) -> None:
    recipe = replace(RACE, stop=replace(NEVER, stale=1, improvement=0.9))
    said = estimate(asked(recipe))
    cost = run(recipe, []).cost.network_evaluations
    assert cost < said.network_evaluations < said.most_network_evaluations
    assert estimate(asked(recipe), Position(ending=0.5)).network_evaluations < said.network_evaluations


def test_at_every_event_the_rest_is_what_was_then_still_done(run: Run) -> None:
    events: list[Event] = []
    whole = run(WHOLE, events).cost.network_evaluations
    search = asked(WHOLE)
    for event in events:
        rest = estimate(search, position_of(event)).network_evaluations
        done = event.checkpoint.network_evaluations if event.checkpoint else None
        if done is not None:
            assert rest == whole - done, (event.stage, event.done)
    assert estimate(search, position_of(events[-1])).network_evaluations == 0


def test_constants_that_it_shares_with_the_method_are_the_methods() -> None:
    assert set(module.CANDIDATE_MODES) == {*calibrate.MODES, *calibrate.FALLBACKS}
    assert (module.INVERSION_ROUNDS, module.UNNAMED) == (ROUNDS, UNNAMED)


def test_a_calibration_that_is_still_to_come_may_choose_the_costliest() -> None:
    search = asked(replace(RACE, gradient=CALIBRATED))
    costly, cheap = estimate(replace(search, mode="full")), estimate(replace(search, mode="one_vjp@0.5"))
    assert estimate(search).most_network_evaluations == costly.most_network_evaluations
    assert cheap.network_evaluations < estimate(search).network_evaluations < costly.network_evaluations


def test_work_that_was_never_measured_is_as_fast_as_what_is_most_like_it() -> None:
    search = asked(FAST)
    some = gradient("one_vjp@0.4", search)
    speeds = Speeds().with_measured(sampling(search), 1.0)
    assert speeds.of(drawing(search)) == 1.0
    assert speeds.of(some) == pytest.approx(some.weight / sampling(search).weight)
    costly = gradient("full", search)
    assert speeds.with_measured(some, 3.0).of(costly) == pytest.approx(3.0 * costly.weight / some.weight)
    assert estimate(search).seconds(Speeds()) is None


def played(recipe: Recipe, known: Speeds, *, sample: float, step: float) -> tuple[list[Forecast], float]:
    """The forecasts of a search that takes ``sample`` and ``step`` seconds an image, and how long it took."""
    now = 0.0
    pace = Pace(asked(recipe, references=0), known, clock=lambda: now)
    said = [pace.forecast()]
    for done in range(4, 13, 4):
        now += 4 * sample
        said.append(pace.note(Position(stage="explore", done=done)))
    for number in range(recipe.iterations + 1):
        count = asked(recipe).at_most(number)
        now += count * (step if number < recipe.iterations else sample)
        active = asked(recipe).at_most(number + 1) if number < recipe.iterations else 0
        position = Position(stage="optimise", done=number, evaluated=count, active=active)
        said.append(pace.note(position))
    now += (STARTS + PLAIN) * sample
    said.append(pace.note(Position(stage="draw", done=STARTS + PLAIN)))
    return said, now


SIX = replace(RACE, explore=Explore(size=12, batch=4))


def test_with_known_speeds_the_time_is_right_from_the_start_and_at_every_step() -> None:
    search = asked(SIX)
    known = Speeds()
    for work, seconds in ((sampling(search), 2.0), (drawing(search), 2.0), (gradient(SIX.gradient, search), 5.0)):
        known = known.with_measured(work, seconds)
    said, total = played(SIX, known, sample=2.0, step=5.0)
    for forecast in said:
        assert forecast.left == pytest.approx(total - forecast.spent)
        assert forecast.most is not None
        assert forecast.most >= forecast.left
    assert said[-1].share == 1.0


def test_a_machine_that_is_slower_today_is_found_out_in_the_first_batch() -> None:
    search = asked(SIX)
    known = Speeds().with_measured(sampling(search), 2.0).with_measured(gradient(SIX.gradient, search), 5.0)
    said, total = played(SIX, known, sample=6.0, step=15.0)
    assert said[1].left == pytest.approx(total - said[1].spent)


def test_without_any_speed_nothing_is_promised_before_the_first_batch() -> None:
    said, total = played(SIX, Speeds(), sample=2.0, step=5.0)
    assert (said[0].left, said[0].most, said[0].share) == (None, None, 0.0)
    assert said[1].left == pytest.approx(total - said[1].spent, rel=1 / 3)
    assert said[-3].left == pytest.approx(total - said[-3].spent)


def test_starts_that_end_sooner_than_usual_shorten_what_is_left() -> None:
    near = replace(SIX, stop=replace(NEVER, near_enough=True), iterations=20, spare=1.0)
    search, left = asked(near), {}
    for ended in (0, 2):
        pace = Pace(search, Speeds().with_measured(sampling(search), 1.0), clock=lambda: 0.0)
        position = Position(stage="optimise", done=3, evaluated=3, active=3, ended=ended)
        left[ended] = pace.note(position).rest.gradients
    assert left[2] < left[0] / 1.3


def test_speeds_are_kept_by_what_they_are_about_and_averaged(tmp_path: Path) -> None:
    search = asked(FAST)
    subject, other = {"model": "a", "device": {"device": "cpu"}}, {"model": "b"}
    keep_speeds(tmp_path, subject, Speeds().with_measured(sampling(search), 4.0))
    keep_speeds(tmp_path, subject, Speeds().with_measured(sampling(search), 2.0).with_measured(drawing(search), 1.0))
    found = read_speeds(tmp_path, subject)
    assert (found.of(sampling(search)), found.of(drawing(search))) == (3.0, 1.0)
    assert read_speeds(tmp_path, other) == Speeds()
    (file,) = (tmp_path / "speeds").iterdir()
    assert json.loads(file.read_text())["about"] == subject


def test_a_damaged_file_of_speeds_is_measured_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_speeds(tmp_path, {}, Speeds().with_measured(sampling(asked(FAST)), 4.0))
    (file,) = (tmp_path / "speeds").iterdir()
    file.write_text("{")
    assert read_speeds(tmp_path, {}) == Speeds()
    assert "cannot be read and are measured again" in caplog.text


def test_photos_and_the_iterations_of_small_images_take_their_time_beside_the_network() -> None:
    search = asked(SIX, small=True)
    speeds = Speeds().with_measured(sampling(search), sampling(search).weight)
    bare = estimate(replace(search, small=False, references=0))
    added = 5 * REFERENCE + (SIX.iterations + 1) * ITERATION
    assert estimate(search).network_evaluations == bare.network_evaluations
    # Of what never was measured, a network evaluation is a second here.
    assert estimate(search).seconds(speeds) == pytest.approx((bare.seconds(speeds) or 0) + added)


def test_a_search_that_goes_on_is_told_of_its_modes(run: Run) -> None:
    events: list[Event] = []
    chosen = run(replace(RACE, gradient=CALIBRATED, iterations=1), events).calibration
    assert chosen
    pace = Pace(asked(replace(RACE, gradient=CALIBRATED, iterations=1)))
    said = [pace.note(position_of(event), mode=mode_of(event.checkpoint)) for event in events]
    assert pace.search.mode == chosen.chosen
    assert said[-1].left == 0


def test_a_start_ends_when_its_losses_reach_the_goal() -> None:
    falling, stuck, there = [0.4, 0.2, 0.1], [0.4, 0.4, 0.4, 0.4], [0.04]
    soon, late, now = iterations_until([falling, stuck, there], 0.05)
    assert now == 1.0
    assert now < soon < 3 < late
    assert iterations_until([falling], 0.0) == (inf,)


def test_losses_that_fall_fast_shorten_what_is_left_only_where_being_near_ends_a_start() -> None:
    near = replace(SIX, stop=replace(NEVER, near_enough=True), iterations=20, spare=1.0)
    at = {"stage": "optimise", "done": 1, "active": 3}
    soon, late = Position(**at, until=(2.0, 2.0, 3.0)), Position(**at, until=(90.0, 90.0, inf))
    assert estimate(asked(near), soon).gradients < 15 < 45 < estimate(asked(near), late).gradients
    assert estimate(asked(SIX), soon).gradients == estimate(asked(SIX), late).gradients


def test_once_enough_starts_are_near_enough_the_others_end_with_them() -> None:
    race = replace(SIX, stop=replace(NEVER, near_enough=True), iterations=20)
    at = Position(stage="optimise", done=2, active=4, until=(1.0, inf, inf, inf))
    assert asked(race).begun == 6
    assert estimate(asked(race), at).gradients < 18
