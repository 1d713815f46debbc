"""Methods that follow a gradient: where their seeds go, when a start ends, and which iterate is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from seedbank.evaluation.gradient_baselines import DOODL, RENO, SEEDSELECT_STOP
from seedbank.evaluation.harness import Budget, Problem
from seedbank.evaluation.methods import Plain
from seedbank.selection.search.recipes import AdamW

SMALL_RENO = replace(RENO, iterations=3)
SMALL_DOODL = replace(DOODL, iterations=2, gradient="last:1")


def test_renos_seeds_drift_off_the_shell_and_doodls_do_not(problem: Problem, starts: list[Any]) -> None:
    start = Plain().run(problem, starts, Budget())
    assert SMALL_DOODL.run(problem, starts, Budget()).norm_z == pytest.approx(start.norm_z, abs=1e-2)
    assert SMALL_RENO.run(problem, starts, Budget()).norm_z != pytest.approx(start.norm_z, abs=1e-2)


def test_starts_that_rise_end_each_by_itself_and_are_paid_no_more(problem: Problem, starts: list[Any]) -> None:
    """With a step so large that every start rises soon: what is kept was followed by rises only."""
    wild = replace(SEEDSELECT_STOP, update=AdamW(rate=5.0, drop=1.0), iterations=12, rises=1, gradient="last:3")
    endless = replace(wild, rises=0)
    stopped, whole = (method.run(problem, starts, Budget()) for method in (wild, endless))
    assert stopped.network_evaluations < whole.network_evaluations
    assert len(stopped.trace) <= len(whole.trace) == 12


def test_the_last_iterate_is_the_one_after_the_last_step(problem: Problem, starts: list[Any]) -> None:
    once = replace(SEEDSELECT_STOP, iterations=1, rises=0).run(problem, starts, Budget())
    plain = Plain().run(problem, starts, Budget())
    assert not np.array_equal(once.images[0], plain.images[0])
    best = replace(SEEDSELECT_STOP, iterations=1, rises=0, keep="best").run(problem, starts, Budget())
    assert np.array_equal(best.images[0], plain.images[0])
