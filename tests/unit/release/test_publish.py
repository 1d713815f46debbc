from datetime import date
from pathlib import Path
from typing import Any

import pytest

from seedbank.errors import NotApproved, UnusableReferences, UsageError, VerificationError
from seedbank.records import sha256
from seedbank.references.records import Reference
from seedbank.release import Manifest, verify_release
from seedbank.release.publish import publish
from seedbank.release.records import MANIFEST, STATEMENT, newest_release_folder
from seedbank.selection.seeds import Seed
from seedbank.storage import LocalStore
from support.trials import CONCEPT, Made, change_rights, make_bank, make_rights, make_trial


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_trial(make_bank(tmp_path))


def on_disk(made: Made, folder: str) -> Path:
    assert isinstance(made.bank.store, LocalStore)
    return made.bank.store.root / folder


def test_exactly_what_was_approved_comes_out_byte_for_byte(made: Made) -> None:
    dossier = made.approve()
    release = publish(made.bank, dossier.digest)
    folder = on_disk(made, release.folder)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "datasheet.md",
        "decisions/1.json",
        "decisions/2.json",
        "dossier.json",
        "images/wingnut-01.png",
        "images/wingnut-02.png",
        "manifest.json",
        "seeds/wingnut-01.safetensors",
        "seeds/wingnut-02.safetensors",
        "statement.dsse.json",
    ]
    approved = [sha256((folder / f"images/wingnut-0{number}.png").read_bytes()) for number in (1, 2)]
    assert approved == [item.image for item in made.trial.candidates if item.accepted]
    assert verify_release(folder, made.bank.settings.keys / "release.pub").manifest == release.manifest


def test_its_manifest_says_where_everything_came_from(made: Made) -> None:
    dossier = made.approve()
    release = publish(made.bank, dossier.digest)
    manifest = Manifest.from_bytes(made.bank.store.get(f"{release.folder}/{MANIFEST}"))
    trial = made.trial
    assert (manifest.trial, manifest.trial_digest, manifest.dossier) == (trial.key, trial.digest, dossier.digest)
    assert (manifest.model, manifest.encoder, manifest.guard) == (trial.model, trial.encoder, trial.guard)
    assert (manifest.recipe, manifest.sampler, manifest.prompt) == (trial.recipe, trial.sampler, trial.prompt)
    assert manifest.references == made.reference_set.references
    assert manifest.images[0].lineage.parents == (trial.plain[0].seed,)
    assert manifest.software["torch"]
    last = list(made.bank.ledger.entries(event="decision.recorded"))[-1]
    assert (manifest.ledger.number, manifest.ledger.entry) == (last.number, last.digest)
    assert (manifest.keeping.conditional_write, manifest.keeping.immutability) == (True, "none")


def test_publishing_again_returns_the_same_release(made: Made) -> None:
    dossier = made.approve()
    assert publish(made.bank, dossier.digest) == publish(made.bank, dossier.digest)
    assert len(list(made.bank.ledger.entries(event="release.published"))) == 1
    assert newest_release_folder(made.bank, CONCEPT).endswith(dossier.digest[:12])


@pytest.mark.parametrize("left", range(0, 11, 2))
def test_a_publication_that_was_killed_is_finished(made: Made, left: int) -> None:
    dossier = made.approve()
    whole = publish(made.bank, dossier.digest)
    in_order_of_writing = sorted(made.bank.store.keys(whole.folder), key=lambda key: key.endswith(STATEMENT))
    for key in in_order_of_writing[left:]:
        made.bank.store.delete(key)
    assert publish(made.bank, dossier.digest) == whole


def test_a_publication_that_was_killed_before_the_ledger_is_on_record_once(made: Made) -> None:
    dossier = made.approve()
    publish(made.bank, dossier.digest)
    *_, last = made.bank.store.keys("ledger/")
    made.bank.store.delete(last)
    publish(made.bank, dossier.digest)
    (entry,) = made.bank.ledger.entries(event="release.published")
    assert entry.data["images"] == 2
    assert entry.data["scripted"] is False


def test_papers_say_when_nobody_has_looked(made: Made) -> None:
    release = publish(made.bank, made.approve(scripted=True).digest)
    folder = on_disk(made, release.folder)
    assert release.manifest.scripted
    assert "A script answered this review" in (folder / "README.md").read_text()
    assert "by script" in (folder / "datasheet.md").read_text()


def test_papers_do_not_let_names_write_markdown(tmp_path: Path) -> None:
    rights = make_rights(source="a | b\n# heading <script>")
    made = make_trial(make_bank(tmp_path), rights=rights)
    text = (on_disk(made, publish(made.bank, made.approve().digest).folder) / "datasheet.md").read_text()
    assert "a / b # heading (script>" in text


class TestRefused:
    def test_without_approval_nothing_is_written(self, made: Made) -> None:
        dossier = made.dossier()
        with pytest.raises(NotApproved, match="seat 1 has not answered"):
            publish(made.bank, dossier.digest)
        assert not list(made.bank.store.keys("releases/"))
        with pytest.raises(UsageError, match="no release of 'wingnut' yet"):
            newest_release_folder(made.bank, CONCEPT)

    def test_an_unknown_dossier(self, made: Made) -> None:
        with pytest.raises(UsageError, match="no dossier"):
            publish(made.bank, "0" * 64)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"expires": date(2026, 6, 1)}, "wingnut-0.jpg: rights expired on 2026-06-01"),
            ({"purpose": ("training",)}, "do not cover 'synthetic-release'"),
            ({"identifiable_people": True}, "identifiable people without consent"),
        ],
    )
    def test_rights_must_hold_on_the_day(self, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
        made = make_trial(make_bank(tmp_path))
        dossier = made.approve()
        change_rights(made, **changes)
        with pytest.raises(UnusableReferences, match=words):
            publish(made.bank, dossier.digest, today=date(2026, 6, 2))
        assert not list(made.bank.store.keys("releases/"))

    def test_rights_that_were_renewed_count(self, tmp_path: Path) -> None:
        made = make_trial(make_bank(tmp_path))
        dossier = made.approve()
        change_rights(made, expires=date(2026, 6, 1))
        with pytest.raises(UnusableReferences, match="expired on 2026-06-01"):
            publish(made.bank, dossier.digest, today=date(2026, 6, 2))
        change_rights(made, expires=date(2036, 6, 1))
        release = publish(made.bank, dossier.digest, today=date(2026, 6, 2))
        assert {item.rights.expires for item in release.manifest.references} == {date(2036, 6, 1)}

    def test_a_photo_that_was_taken_out_since_the_review(self, made: Made) -> None:
        dossier = made.approve()
        made.bank.store.delete(f"photos/{CONCEPT}/{dossier.references[2].photo}.json")
        with pytest.raises(UnusableReferences, match=r"wingnut-2.jpg: not among the concept.s photos any more"):
            publish(made.bank, dossier.digest)

    def test_a_face_that_nobody_answered_for(self, made: Made) -> None:
        dossier = made.approve()
        photo = dossier.references[0]
        asking = photo.model_copy(update={"faces": 1})
        made.bank.store.put(f"photos/{CONCEPT}/{photo.photo}.json", asking.to_bytes())
        with pytest.raises(UnusableReferences, match=r"wingnut-0.jpg: waits: it shows what may be a face"):
            publish(made.bank, dossier.digest)

    def test_a_picture_that_was_exchanged_after_the_review(self, made: Made) -> None:
        dossier = made.approve()
        first, second = (f"{dossier.folder}/images/{item.image}.png" for item in dossier.candidates)
        made.bank.store.put(first, made.bank.store.get(second))
        with pytest.raises(VerificationError, match="it was changed"):
            publish(made.bank, dossier.digest)

    def test_a_seed_that_was_exchanged_or_is_gone(self, made: Made) -> None:
        dossier = made.approve()
        first, second = (f"{dossier.folder}/seeds/{item.seed}.safetensors" for item in dossier.candidates)
        made.bank.store.put(first, made.bank.store.get(second))
        with pytest.raises(VerificationError, match="expected seed"):
            publish(made.bank, dossier.digest)
        made.bank.store.delete(first)
        with pytest.raises(VerificationError, match="it is gone"):
            publish(made.bank, dossier.digest)

    def test_a_trial_that_was_rewritten_after_the_review(self, made: Made) -> None:
        dossier = made.approve()
        rewritten = made.trial.model_copy(update={"prompt": "something else"})
        made.bank.store.put(f"{dossier.folder}/trial.json", rewritten.to_bytes())
        with pytest.raises(VerificationError, match="changed after the freeze"):
            publish(made.bank, dossier.digest)

    def test_a_stranger_in_the_folder_before_publication(self, made: Made) -> None:
        dossier = made.approve()
        made.bank.store.put(f"releases/{CONCEPT}/{dossier.digest[:12]}/images/extra.png", b"x")
        with pytest.raises(VerificationError, match=r"images/extra.png, which nobody signed"):
            publish(made.bank, dossier.digest)
        assert not list(made.bank.ledger.entries(event="release.published"))

    def test_a_release_that_was_changed_is_not_returned(self, made: Made) -> None:
        dossier = made.approve()
        release = publish(made.bank, dossier.digest)
        made.bank.store.put(f"{release.folder}/README.md", b"all fine")
        with pytest.raises(VerificationError, match=r"README.md was changed"):
            publish(made.bank, dossier.digest)

    def test_a_statement_that_somebody_else_put_there(self, made: Made, tmp_path: Path) -> None:
        dossier = made.approve()
        other = make_trial(make_bank(tmp_path / "mallory"))
        theirs = publish(other.bank, other.approve().digest)
        for key in list(other.bank.store.keys(theirs.folder)):
            forged = f"releases/{CONCEPT}/{dossier.digest[:12]}{key.removeprefix(theirs.folder)}"
            made.bank.store.put(forged, other.bank.store.get(key))
        with pytest.raises(VerificationError, match="another key signed it"):
            publish(made.bank, dossier.digest)


def test_a_photos_rights_in_the_manifest_are_those_of_the_day(made: Made) -> None:
    dossier = made.approve()
    photo = dossier.references[0]
    moved = photo.model_copy(update={"rights": make_rights(licence="CC0-1.0")})
    made.bank.store.put(f"photos/{CONCEPT}/{photo.photo}.json", moved.to_bytes())
    references: tuple[Reference, ...] = publish(made.bank, dossier.digest).manifest.references
    assert references[0].rights.licence == "CC0-1.0"


def test_the_seeds_of_a_release_can_be_read_again(made: Made) -> None:
    release = publish(made.bank, made.approve().digest)
    for item in release.manifest.images:
        seed = Seed.from_safetensors(made.bank.store.get(f"{release.folder}/{item.seed_file}"))
        assert (seed.digest, seed.lineage) == (item.candidate.seed, item.lineage)
