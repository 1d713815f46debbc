"""Each stage reads what it needs once and hands it on: from the trial to the signed folder."""

from pathlib import Path

import pytest

from seedbank.release.publish import publish
from seedbank.release.records import load_release
from seedbank.review.dossier import prepare_dossier
from seedbank.review.roster import load_roster
from support.stores import counted
from support.trials import CONCEPT, Made, answer, make_bank, make_trial

LEDGER = ("ledger/",)
"""An entry that is there already is looked at again before it is relied on: it may have been taken away. Recording an answer looks for who
asked, and then for whether the answer is there."""


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_trial(make_bank(tmp_path))


def test_freezing_a_dossier(made: Made) -> None:
    bank, store = counted(made.bank)
    prepare_dossier(bank, made.trial)
    pictures = {f"{made.trial.folder}/images/{item.image}.png" for item in made.trial.candidates if item.accepted}
    assert store.reads.keys() >= pictures | {f"working/{item.photo}.png" for item in made.reference_set.references}
    assert store.read_twice(apart_from=LEDGER) == {}


def test_recording_an_answer(made: Made) -> None:
    dossier, roster = made.dossier(), load_roster(made.bank.settings.roster)
    answer(made.bank, dossier.digest, 1, roster.reviewers["alice"])
    bank, store = counted(made.bank)
    answer(bank, dossier.digest, 2, roster.reviewers["bob"])
    assert store.reads[f"decisions/{dossier.digest}/1.json"] == store.reads[f"dossiers/{dossier.digest}.json"] == 1
    assert store.read_twice(apart_from=LEDGER) == {}


def test_publishing(made: Made) -> None:
    dossier = made.approve()
    bank, store = counted(made.bank)
    release = publish(bank, dossier.digest)
    assert store.reads.keys() >= {dossier.place, made.trial.place, made.reference_set.place}
    assert store.reads.keys() >= {f"decisions/{dossier.digest}/{seat}.json" for seat in (1, 2)}
    assert store.reads.keys() >= {f"{release.folder}/{item.file}" for item in release.manifest.images}
    assert store.read_twice() == {}


def test_publishing_again(made: Made) -> None:
    release = publish(made.bank, made.approve().digest)
    bank, store = counted(made.bank)
    assert publish(bank, release.manifest.dossier) == release
    assert store.read_twice(apart_from=LEDGER) == {}


def test_loading_a_release_reads_its_manifest_and_statement_alone(made: Made) -> None:
    release = publish(made.bank, made.approve().digest)
    bank, store = counted(made.bank)
    assert load_release(bank, CONCEPT, release.manifest.dossier) == release
    assert sorted(store.reads) == [f"{release.folder}/manifest.json", f"{release.folder}/statement.dsse.json"]
    assert store.read_twice() == {}
