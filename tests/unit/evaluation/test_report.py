"""Rows with written-down judgements: tables, differences and plots say what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbank.evaluation.harness import BenchmarkRow
from seedbank.evaluation.report import paired, plot_hacking, plot_success, summarise, to_json, to_markdown

ROW = BenchmarkRow(
    method="plain",
    budget="evaluations",
    concept="hook",
    training_images=10,
    repeat=0,
    right=(True, False, False, False),
    confidence=(0.9, 0.1, 0.2, 0.1),
    accepted=(True, True, False, False),
    objective=(0.2, 0.6, 0.5, 0.7),
    vendi=2.0,
    copy_rate=0.0,
    norm_z=0.8,
    whiteness=2.0,
    network_evaluations=100,
    seconds=2.0,
    peak_mib=None,
)
BETTER = replace(ROW, method="ours", right=(True, True, True, False), accepted=(True, True, True, False), peak_mib=3.0)
NONE = replace(ROW, method="none", right=(False,) * 4, accepted=(False,) * 4)
WASHER = {"concept": "washer", "training_images": 1000}
ROWS = [ROW, replace(ROW, **WASHER), BETTER, replace(BETTER, **WASHER), NONE]


def test_a_summary_counts_over_all_runs() -> None:
    plain, ours, none = summarise(ROWS)
    assert (plain.success.right, plain.success.count, plain.accepted.rate, plain.acceptance) == (2, 8, 0.5, 0.5)
    assert (plain.evaluations_each, plain.seconds_each, plain.seconds, plain.peak_mib) == (50, 1, 2, None)
    assert (ours.success.rate, ours.accepted.rate, ours.peak_mib) == (0.75, 1.0, 3.0)
    assert (none.evaluations_each, none.accepted.count) == (float("inf"), 0)


def test_differences_are_taken_start_by_start() -> None:
    found = paired(ROWS, "ours", "plain", "evaluations")
    assert (found.mean, found.pairs) == (0.5, 8)
    assert 0 < found.low < 0.5 < found.high <= 1
    assert found.sure
    assert paired(ROWS, "plain", "ours", "evaluations").mean == -0.5
    same = paired([ROW, replace(ROW, method="twin")], "twin", "plain", "evaluations")
    assert (same.mean, same.low, same.high, same.sure) == (0, 0, 0, False)
    assert paired(ROWS, "ours", "nobody", "evaluations").pairs == 0
    assert paired(ROWS, "ours", "plain", "seconds").pairs == 0


def test_the_table_has_every_method_and_concept() -> None:
    text = to_markdown(ROWS)
    assert "| `ours` | evaluations | 2 | 8 | 75% (" in text
    assert "none accepted" in text
    head, *lines = text.split("\n\n")[1].strip().splitlines()
    assert head == "| right | budget | washer (1,000) | hook (10) |"
    assert [line.split(" | ")[0] for line in lines[1:]] == ["| `plain`", "| `ours`", "| `none`"]
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_the_last_table_counts_what_is_right_of_what_is_accepted() -> None:
    head, _, *lines = to_markdown(ROWS).split("\n\n")[2].strip().splitlines()
    assert head == "| right of accepted | budget | washer (1,000) | hook (10) |"
    assert [line.removesuffix(" |").rsplit(" | ", 1)[1] for line in lines] == ["1 of 2", "3 of 3", "0 of 0"]


def test_the_document_is_json_without_infinities() -> None:
    document = json.loads(to_json(ROWS, machine="here"), parse_constant=lambda name: pytest.fail(name))
    assert document["about"] == {"machine": "here"}
    assert len(document["rows"]) == len(ROWS)
    assert document["summary"][2]["evaluations_each"] is None


def test_plots_are_drawn_and_equal_rows_give_equal_files(tmp_path: Path) -> None:
    for plot in (plot_success, plot_hacking):
        first, again, fewer = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
        plot(ROWS, first)
        plot(ROWS, again)
        plot(ROWS, fewer, methods=("ours",))
        assert first.read_bytes() == again.read_bytes() != fewer.read_bytes()
        assert np.asarray(Image.open(first)).std() > 5
