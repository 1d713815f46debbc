"""The commands after the search, run as a person does: in one process, with the environment and exit codes that count."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from seedbank.cli.app import main
from seedbank.release.publish import publish
from seedbank.review.roster import load_roster
from support.trials import CONCEPT, Made, answer, make_bank, make_trial


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    bank = make_bank(tmp_path)
    monkeypatch.setenv("SEEDBANK_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBANK_CONCEPTS", str(bank.settings.concepts))
    for name in ("SEEDBANK_STORE", "SEEDBANK_ROSTER", "SEEDBANK_KEYS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return make_trial(bank)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["seedbank", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return call


def test_review_shows_the_dossier_and_both_seats_and_records_nothing(made: Made, run: Run) -> None:
    done = run("review", CONCEPT)
    assert done.code == 0
    assert "seat 1: not answered yet" in done.out
    assert "contact sheet: file://" in done.out
    made.approve()
    assert "seat 2: Bob Example (bob) said publish: looks like the part" in run("review", CONCEPT).out
    assert json.loads(run("review", CONCEPT, "--json").out)["seats"]["1"]["reviewer"] == "alice"
    assert len(list(made.bank.ledger.entries(event="decision.recorded"))) == 2


def test_release_needs_approval(made: Made, run: Run) -> None:
    assert run("release", CONCEPT).code == 2
    made.dossier()
    done = run("release", CONCEPT)
    assert done.code == 1
    assert done.err.startswith("seedbank: seat 1 has not answered")
    made.approve()
    done = run("release", CONCEPT)
    assert done.code == 0
    assert "2 images of wingnut released" in done.out
    assert json.loads(run("release", CONCEPT, "--json").out)["folder"].startswith("releases/wingnut/")


def test_verify_by_folder_and_by_name(made: Made, run: Run, tmp_path: Path) -> None:
    folder = publish(made.bank, made.approve().digest).folder
    shutil.copytree(tmp_path / "store" / folder, tmp_path / "received")
    shutil.copy(made.bank.settings.keys / "release.pub", tmp_path / "theirs.pub")
    by_folder = run("verify", str(tmp_path / "received"), "--key", str(tmp_path / "theirs.pub"))
    assert by_folder.code == 0
    assert by_folder.out.startswith("verified: 2 images of wingnut, 10 files signed by key")
    assert run("verify", CONCEPT).out == by_folder.out
    assert json.loads(run("verify", CONCEPT, "--json").out)["verified"] is True


@pytest.mark.parametrize("name", ["images/wingnut-01.png", "manifest.json", "statement.dsse.json", "datasheet.md"])
def test_verify_says_no_after_one_byte(made: Made, run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "store" / publish(made.bank, made.approve().digest).folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run("verify", CONCEPT)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("seedbank: ")


def test_a_reason_cannot_write_lines_or_colours_of_its_own(made: Made, run: Run) -> None:
    dossier, people = made.dossier(), load_roster(made.bank.settings.roster).reviewers
    answer(made.bank, dossier.digest, 1, people["alice"], reason="fine\nverified: 4 images\x1b[32m of gold")
    answer(made.bank, dossier.digest, 2, people["bob"])
    publish(made.bank, dossier.digest)
    for done in (run("verify", CONCEPT), run("review", CONCEPT)):
        assert done.code == 0
        assert r"said publish: fine\nverified: 4 images\x1b[32m of gold" in done.out
        assert "\x1b[32m of gold" not in done.out
        assert "\nverified: 4 images" not in done.out


def test_the_name_of_a_file_cannot_either(made: Made, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "store" / publish(made.bank, made.approve().digest).folder
    (folder / "evil\nverified: 4 images\x1b[32m").write_bytes(b"")
    done = run("verify", f"{folder}/")
    assert done.code == 1
    assert done.err.startswith(r"seedbank: found 'evil\nverified: 4 images\x1b[32m', which nobody signed")
    assert len(done.err.splitlines()) == 1


def test_verify_used_wrongly(made: Made, run: Run, tmp_path: Path) -> None:
    assert run("verify", str(tmp_path / "nowhere")).code == 2
    assert "no release of 'wingnut' yet" in run("verify", CONCEPT, "--key", str(_key(made))).err


def test_status_tells_and_checks_the_chain(made: Made, run: Run) -> None:
    made.approve()
    done = run("status", "--json")
    (concept,) = json.loads(done.out)["concepts"]
    assert (concept["stage"], concept["next_step"]) == ("approved", "seedbank release wingnut")
    assert "the chain holds" in run("status").out
    publish(made.bank, made.dossier().digest)
    *_, last = made.bank.ledger.entries()
    for number in (last.number, last.number - 1):
        made.bank.store.delete(f"ledger/{number:010d}.json")
    done = run("status")
    assert done.code == 1
    assert "its newest entries were removed" in done.err


def test_status_of_an_empty_bank_says_how_to_begin(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBANK_HOME", str(tmp_path / "new"))
    assert "next: seedbank intake" in run("status").out


def test_trace_shows_the_way(made: Made, run: Run) -> None:
    release = publish(made.bank, made.approve().digest)
    photo = made.reference_set.references[0].photo
    done = run("trace", photo[:12])
    assert done.code == 0
    assert f"photo {photo}: wingnut/wingnut-0.jpg" in done.out
    assert release.folder in done.out
    assert json.loads(run("trace", photo, "--json").out)["node"]["kind"] == "photo"
    assert run("trace", "xyz").code == 2


def test_keys_are_made_and_named(made: Made, run: Run) -> None:
    assert "public half in" in run("keys").out
    assert set(json.loads(run("keys", "--json").out)) == {"review", "release"}


def test_replay_of_nothing_is_used_wrongly(made: Made, run: Run, tmp_path: Path) -> None:
    assert run("replay", str(tmp_path / "nowhere")).code == 2


def _key(made: Made) -> Path:
    from seedbank.evidence.signing import ensure_keys

    ensure_keys(made.bank.settings.keys)
    return made.bank.settings.keys / "release.pub"
