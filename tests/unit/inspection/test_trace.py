from pathlib import Path

import pytest

from seedbank.errors import UsageError
from seedbank.inspection.trace import trace
from seedbank.models.card import ModelCard
from seedbank.records import sha256
from seedbank.release import Release
from seedbank.release.publish import publish
from support.trials import Made, make_bank, make_trial


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_trial(make_bank(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def release(made: Made) -> Release:
    return publish(made.bank, made.approve().digest)


def kinds(nodes: tuple) -> list[str]:
    return sorted({node.kind for node in nodes})


def test_a_photo_leads_to_every_release_made_from_it(made: Made, release: Release) -> None:
    photo = made.reference_set.references[0].photo
    found = trace(made.bank, photo)
    assert (found.node.kind, found.node.label) == ("photo", "wingnut/wingnut-0.jpg")
    assert found.came_from == ()
    assert [node.label for node in found.went_into if node.kind == "release"] == [release.folder]
    assert kinds(found.went_into) == sorted(
        ["reference set", "trial", "seed", "image", "dossier", "decision", "release", "statement"]
    )
    assert [entry.event for entry in found.events] == ["intake.accepted"]


def test_a_release_leads_back_to_photos_people_and_models(made: Made, release: Release) -> None:
    found = trace(made.bank, release.statement)
    assert found.went_into == ()
    assert sum(node.kind == "photo" for node in found.came_from) == 6
    assert [node.label for node in found.came_from if node.kind == "decision"] == [
        "seat 1, alice: publish",
        "seat 2, bob: publish",
    ]
    assert {node.label for node in found.came_from if node.kind == "model"} == {"parts", "parts-encoder", "parts-guard"}
    assert [entry.event for entry in found.events] == ["release.published"]


def test_an_image_knows_its_seed_and_the_seed_its_start(made: Made, release: Release) -> None:
    candidate = made.trial.candidates[0]
    found = trace(made.bank, candidate.image)
    assert {node.digest for node in found.came_from if node.kind == "seed"} == {candidate.seed, candidate.start}
    assert release.manifest.digest in {node.digest for node in found.went_into}


def test_an_image_that_was_not_approved_is_in_no_release(made: Made, release: Release) -> None:
    assert kinds(trace(made.bank, made.trial.candidates[-1].image).went_into) == []


def test_the_beginning_of_a_digest_is_enough(made: Made, release: Release) -> None:
    assert trace(made.bank, made.trial.key[:8]).node.digest == made.trial.key


@pytest.mark.parametrize("digest", ["", "1234567", "xyzxyzxyz", "A" * 64, "0" * 65])
def test_what_is_no_digest_is_refused(made: Made, digest: str) -> None:
    with pytest.raises(UsageError, match="expected 8 to 64 hex digits"):
        trace(made.bank, digest)


def test_an_unknown_digest_is_refused(made: Made) -> None:
    with pytest.raises(UsageError, match=r"nothing in .* has the digest"):
        trace(made.bank, sha256(b"unknown"))


def test_an_ambiguous_beginning_names_what_it_may_be(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    photo = made.reference_set.references[0]
    twin = photo.photo[:10] + ("0" if photo.photo[10] != "0" else "1") * 54
    made.bank.store.put(f"photos/wingnut/{twin}.json", photo.model_copy(update={"photo": twin}).to_bytes())
    with pytest.raises(UsageError, match=r"the beginning of several digests: .* \(photo\)"):
        trace(made.bank, photo.photo[:10])


def test_a_guard_of_two_networks_leads_back_to_both(tmp_path: Path) -> None:
    networks = [ModelCard(name=name, source="folder", content=sha256(name.encode())) for name in ("dinov2", "resnet")]
    made = make_trial(make_bank(tmp_path), guard=ModelCard.joint(networks))
    found = trace(made.bank, made.trial.candidates[0].image)
    assert {node.label for node in found.came_from if node.kind == "model"} >= {
        "dinov2",
        "resnet",
        "dinov2 and resnet",
    }
    assert made.trial.key in {node.digest for node in trace(made.bank, networks[1].content).went_into}
