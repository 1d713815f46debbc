from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.records import sha256
from seedbank.review.dossier import prepare_dossier
from seedbank.review.records import Dossier
from seedbank.storage.images import png
from seedbank.trials.images import decode
from seedbank.trials.records import Trial
from support.trials import CONCEPT, Made, make_bank, make_picture, make_rights, make_trial


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_trial(make_bank(tmp_path))


def test_it_holds_what_reviewers_need_and_only_accepted_candidates(made: Made) -> None:
    dossier = made.dossier()
    assert dossier.candidates == made.trial.candidates[:2]
    assert dossier.plain == made.trial.plain
    assert dossier.references == made.reference_set.references
    assert dossier.trial_digest == made.trial.digest
    assert dossier == made.bank.load(Dossier, dossier.digest) == made.bank.newest(Dossier, CONCEPT)


def test_a_trial_has_one_dossier_whatever_the_day(made: Made) -> None:
    first = prepare_dossier(made.bank, made.trial, today=date(2026, 1, 1))
    again = prepare_dossier(made.bank, made.trial, today=date(2030, 1, 1))
    assert again == first
    assert len(list(made.bank.ledger.entries(event="dossier.frozen"))) == 1


def test_its_contact_sheet_is_a_picture_with_room_for_every_row(made: Made) -> None:
    sheet = decode(made.bank.store.get(made.dossier().sheet))
    assert sheet.width > 5 * 192
    assert sheet.height > 4 * 192


def test_nothing_accepted_is_refused_with_the_reasons(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    whole = make_trial(bank).trial
    none = tuple(
        item.model_copy(update={"accepted": False, "explanation": "worse than its start"}) for item in whole.candidates
    )
    with pytest.raises(RefusedError, match=r"no candidate of wingnut was accepted.*worse than its start"):
        prepare_dossier(bank, whole.model_copy(update={"candidates": none}))
    assert not list(bank.store.keys("dossiers/"))


def test_a_changed_picture_is_not_shown_to_anybody(made: Made) -> None:
    key = f"{made.trial.folder}/images/{made.trial.candidates[0].image}.png"
    made.bank.store.put(key, png(make_picture(999)))
    with pytest.raises(VerificationError, match="it was changed"):
        made.dossier()
    made.bank.store.delete(key)
    with pytest.raises(VerificationError, match="it is gone"):
        made.dossier()


def test_a_changed_or_unknown_dossier_is_not_loaded(made: Made) -> None:
    dossier = made.dossier()
    made.bank.store.put(f"dossiers/{dossier.digest}.json", dossier.model_copy(update={"prompt": "x"}).to_bytes())
    with pytest.raises(VerificationError, match="the object was changed"):
        made.bank.load(Dossier, dossier.digest)
    with pytest.raises(UsageError, match="no dossier"):
        made.bank.load(Dossier, sha256(b"other"))
    with pytest.raises(UsageError, match="no dossier of 'impeller'"):
        made.bank.newest(Dossier, "impeller")


def stored(made: Made, **changes: Any) -> Trial:
    """The trial with ``changes``, as if the search had found that."""
    trial = made.trial.model_copy(update=changes)
    made.bank.store.put(f"{trial.folder}/trial.json", trial.to_bytes())
    return trial


class TestFlags:
    def test_a_clean_trial_has_none_but_the_rejected_candidates(self, made: Made) -> None:
        assert made.dossier().flags == ("the guard accepted 2 of 3 candidates; only those are shown",)

    def test_few_references(self, tmp_path: Path) -> None:
        flags = make_trial(make_bank(tmp_path), photos=5).dossier().flags
        assert any(flag.startswith("only 5 reference photos") for flag in flags)

    @pytest.mark.parametrize(("today", "flagged"), [(date(2026, 1, 1), False), (date(2026, 3, 10), True)])
    def test_rights_that_end_within_ninety_days(self, tmp_path: Path, today: date, flagged: bool) -> None:
        made = make_trial(make_bank(tmp_path), rights=make_rights(expires=date(2026, 6, 1)))
        flags = prepare_dossier(made.bank, made.trial, today=today).flags
        assert any("rights of wingnut-0.jpg end on 2026-06-01: ask sam" in flag for flag in flags) is flagged

    def test_a_guard_that_is_not_sure(self, made: Made) -> None:
        pool = made.trial.pool.model_copy(update={"guard_max": 0.9})
        flags = prepare_dossier(made.bank, stored(made, pool=pool)).flags
        assert any("the guard is not sure" in flag and made.trial.candidates[0].seed[:12] in flag for flag in flags)

    @pytest.mark.parametrize(
        ("score", "words"),
        [
            ({"norm_z": -3.5}, "norm is unusual"),
            ({"whiteness": 4.5}, "not white any more"),
            ({"cosine_to_start": 0.7}, "turned far from its start"),
        ],
    )
    def test_noise_that_is_not_like_noise(self, made: Made, score: dict[str, float], words: str) -> None:
        first, *others = made.trial.candidates
        odd = first.model_copy(update={"scores": first.scores.model_copy(update=score)})
        flags = prepare_dossier(made.bank, stored(made, candidates=(odd, *others))).flags
        assert any(words in flag and odd.seed[:12] in flag for flag in flags)
        assert not any(others[0].seed[:12] in flag for flag in flags)

    def test_a_candidate_that_copies_a_photo(self, made: Made) -> None:
        photo = decode(made.bank.store.get(f"working/{made.reference_set.references[0].photo}.png"))
        copied = png(np.asarray(photo.resize((64, 64), Image.Resampling.BOX)))
        made.bank.store.put(f"{made.trial.folder}/images/{sha256(copied)}.png", copied)
        first, *others = made.trial.candidates
        copy = first.model_copy(update={"image": sha256(copied)})
        flags = prepare_dossier(made.bank, stored(made, candidates=(copy, *others))).flags
        assert any("almost a copy of a reference photo" in flag for flag in flags)

    def test_a_trial_whose_plain_seeds_all_failed(self, made: Made) -> None:
        flags = prepare_dossier(made.bank, stored(made, reachability="optimised")).flags
        assert any("plain seeds was acceptable" in flag for flag in flags)
