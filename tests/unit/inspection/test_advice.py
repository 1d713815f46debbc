"""What ``seedbank status`` advises can be done: every command it names is run as it stands, at the stage at which it is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seedbank.bank import Bank
from seedbank.cli.app import app
from seedbank.errors import SeedbankError
from seedbank.inspection.status import ConceptStatus, status
from seedbank.release.publish import publish
from support.trials import CONCEPT, Made, make_bank, make_trial

Here = Callable[[Bank], None]


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """A bank that the command line finds."""
    made = make_bank(tmp_path / "home")
    monkeypatch.setenv("SEEDBANK_HOME", str(made.settings.home))
    monkeypatch.setenv("SEEDBANK_CONCEPTS", str(made.settings.concepts))
    return made


def stand(bank: Bank) -> ConceptStatus:
    (found,) = status(bank)
    return found


def advised(found: ConceptStatus) -> list[list[str]]:
    """The commands in the advice, in order; FOLDER is one of the person's."""
    return [command.split()[1:] for command in re.findall(rf"seedbank [a-z]+ (?:{CONCEPT}|FOLDER)", found.next_step)]


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and what was said; an error of ours is a code, as in the program."""
    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, SeedbankError):
        return done.exception.exit_code, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_searched(bank: Bank) -> None:
    make_trial(bank)
    assert stand(bank).stage == "searched"
    assert advised(stand(bank)) == [["review", CONCEPT]]
    code, said = run("review", CONCEPT)
    assert (code, stand(bank).stage) == (0, "waiting for review")
    assert "seat 1: not answered yet" in said


def test_nothing_accepted_is_not_sent_to_the_review(bank: Bank) -> None:
    make_trial(bank, starts=1)  # of which the guard does not accept the last
    assert stand(bank).stage == "nothing accepted"
    commands = advised(stand(bank))
    assert [command[0] for command in commands] == ["intake", "validate", "optimise", "diagnose"]
    assert run("review", CONCEPT)[0] == 1


def test_approved(bank: Bank) -> None:
    make_trial(bank).approve()
    assert advised(stand(bank)) == [["release", CONCEPT]]
    assert run("release", CONCEPT)[0] == 0
    assert stand(bank).stage == "released"


def test_approved_and_then_asked_for_by_a_reviewer_is_not_sent_to_the_release(bank: Bank) -> None:
    made = make_trial(bank)
    made.approve()
    bank.request("trial", concept=CONCEPT, subject=made.reference_set.digest, requested_by=["bob"])
    assert stand(bank).stage == "reviewer asked"
    assert advised(stand(bank)) == [["optimise", CONCEPT]]
    code, said = run("release", CONCEPT)
    assert code == 1
    assert "bob asked for wingnut" in said


def test_released(bank: Bank) -> None:
    publish(bank, make_trial(bank).approve().digest)
    assert advised(stand(bank)) == [["verify", CONCEPT]]
    code, said = run("verify", CONCEPT)
    assert code == 0
    assert "verified: 2 images of wingnut" in said


def test_photos_refused(bank: Bank, tmp_path: Path) -> None:
    bank.record("references.refused", concept=CONCEPT, key="k", reason="too few photos")
    assert advised(stand(bank)) == [["intake", "FOLDER"]]
    folder = tmp_path / "photos"
    folder.mkdir()
    code, said = run("intake", str(folder))
    assert code == 0
    assert "0 taken in" in said


@pytest.mark.integration
@pytest.mark.parametrize(
    "stage", ["photos in", "set frozen", "searching", "nothing accepted", "rejected", "unreachable"]
)
def test_stages_that_need_the_models(stage: str, bank: Bank, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What judges and searches is run up to where it would load the model; from there on it has nothing to refuse."""
    made = make_trial(bank)
    _bring_to(stage, made)
    assert stand(bank).stage == stage
    folder = tmp_path / "photos"
    folder.mkdir()

    class Works(Exception):
        """The command has found everything it needs."""

    def load(*_: object, **__: object) -> None:
        raise Works

    for name in ("load_model", "load_models", "load_profile_guard"):
        monkeypatch.setattr(f"seedbank.models.loading.{name}", load)
    assert advised(stand(bank)), stand(bank).next_step
    for command, *rest in advised(stand(bank)):
        arguments = [str(folder) if word == "FOLDER" else word for word in rest]
        try:
            code, said = run(command, *arguments)
        except Works:
            continue
        assert code == 0, said


def _bring_to(stage: str, made: Made) -> None:
    record, trial = made.bank.record, made.trial
    match stage:
        case "photos in":
            record("references.refused", concept=CONCEPT, key="k", reason="too few")
            record("intake.accepted", concept=CONCEPT, key="p", name="p.jpg")
        case "set frozen":
            frozen = made.reference_set.digest
            record("references.validated", concept=CONCEPT, key=frozen, reference_set=frozen)
        case "searching":
            record("trial.started", concept=CONCEPT, key=trial.key)
        case "nothing accepted":
            record("trial.finished", concept=CONCEPT, key=trial.key, candidates=3, accepted=0)
        case "rejected":
            made.approve(people=("alice",))
            answered = {"dossier": made.dossier().digest, "seat": 2, "verdict": "reject", "reviewer": "bob"}
            record("decision.recorded", concept=CONCEPT, key="d", **answered)
        case "unreachable":
            record("trial.unreachable", concept=CONCEPT, key=trial.key, advice="try LoRA")
