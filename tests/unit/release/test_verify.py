"""An auditor has the folder and a public key. Whatever is changed in the folder, by whoever does not hold the release key, is found."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import OutsideError, UsageError, VerificationError
from seedbank.evidence.signing import Signer, Statement, ensure_key
from seedbank.records import canonical_json, sha256
from seedbank.release import verify_release
from seedbank.release.publish import publish
from seedbank.release.records import DOSSIER, MANIFEST, PREDICATE, STATEMENT, Manifest
from seedbank.release.verify import read_folder, verify_files
from seedbank.review.records import Decision, read_decision
from seedbank.storage import LocalStore
from support.trials import make_bank, make_picture, make_trial


@dataclass(frozen=True)
class Published:
    """A release on disk and the keys that signed it."""

    folder: Path
    files: dict[str, bytes]
    release: Signer
    review: Signer

    @property
    def public(self) -> Path:
        return self.release.path.with_suffix(".pub")

    def signed(self, files: dict[str, bytes], **predicate: Any) -> dict[str, bytes]:
        """``files`` with a statement that fits them, as the publisher alone could write it."""
        digests = {name: sha256(data) for name, data in files.items() if name != STATEMENT}
        statement = Statement.about(digests, PREDICATE, {"manifest": digests.get(MANIFEST, ""), **predicate})
        return {**files, STATEMENT: self.release.seal(statement)}

    def with_manifest(self, **changes: Any) -> dict[str, bytes]:
        """The release with a changed manifest, signed by the publisher."""
        manifest = Manifest.from_bytes(self.files[MANIFEST]).model_copy(update=changes)
        return self.signed({**self.files, MANIFEST: manifest.to_bytes()})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    made = make_trial(make_bank(tmp_path_factory.mktemp("home")))
    release = publish(made.bank, made.approve().digest)
    assert isinstance(made.bank.store, LocalStore)
    folder, keys = made.bank.store.root / release.folder, made.bank.settings.keys
    return Published(folder, read_folder(folder), ensure_key(keys, "release"), ensure_key(keys, "review"))


def refused(published: Published, files: dict[str, bytes], words: str) -> None:
    with pytest.raises(VerificationError, match=words):
        verify_files(files, published.release.public)


def test_numbers_without_a_canonical_form_are_refused_though_the_publisher_signed_them(published: Published) -> None:
    manifest = json.loads(published.files[MANIFEST])
    manifest["sampler"]["width"] = 2**60
    refused(
        published,
        published.signed({**published.files, MANIFEST: json.dumps(manifest).encode()}),
        "integers within 2\\^53 .* has no canonical JSON",
    )


def test_a_file_that_cannot_be_read_is_named(published: Published) -> None:
    with tempfile.TemporaryDirectory() as folder:  # below pytest's own folders nobody else may look
        shutil.copytree(published.folder, Path(folder, "release"))
        Path(folder).chmod(0o755)
        Path(folder, "release", "README.md").chmod(0)
        with somebody_else(), pytest.raises(OutsideError, match=r"cannot read README\.md in .*: Permission denied"):
            read_folder(Path(folder, "release"))


@contextmanager
def somebody_else() -> Iterator[None]:
    """Not root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_release_needs_only_its_folder_and_the_key(published: Published, tmp_path: Path) -> None:
    shutil.copytree(published.folder, tmp_path / "usb-stick")
    shutil.copy(published.public, tmp_path / "release.pub")
    held = verify_release(tmp_path / "usb-stick", tmp_path / "release.pub")
    assert held.files == len(published.files) - 1
    assert held.key == published.release.public.id
    assert [item.reviewer for item in held.manifest.decisions] == ["alice", "bob"]


@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(published: Published, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(published.files)))
    content = published.files[name]
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    changed = content[:place] + bytes([other]) + content[place + 1 :]
    with pytest.raises(VerificationError):
        verify_files({**published.files, name: changed}, published.release.public)


@given(data=st.data())
def test_any_cut_or_longer_file_is_found(published: Published, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(published.files)))
    content = published.files[name]
    changed = data.draw(
        st.integers(0, len(content) - 1).map(lambda size: content[:size]) | st.binary(min_size=1).map(content.__add__)
    )
    with pytest.raises(VerificationError):
        verify_files({**published.files, name: changed}, published.release.public)


@given(data=st.data())
def test_any_missing_or_added_or_swapped_file_is_found(published: Published, data: st.DataObject) -> None:
    names = sorted(published.files)
    name = data.draw(st.sampled_from(names))
    other = data.draw(st.sampled_from([item for item in names if item != name]))
    rest = {key: value for key, value in published.files.items() if key != name}
    swapped = {**rest, name: published.files[other], other: published.files[name]}
    for files in (
        rest,
        {**published.files, f"{name}.bak": b""},
        {**rest, f"new/{name}": published.files[name]},
        swapped,
    ):
        with pytest.raises(VerificationError):
            verify_files(files, published.release.public)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json, not there"),
        (lambda folder: (folder / "statement.dsse.json").unlink(), "publication was not finished"),
        (lambda folder: (folder / "notes.txt").write_text("hello"), "notes.txt, which nobody signed"),
        (lambda folder: (folder / "images" / "x.png").symlink_to("wingnut-01.png"), "images/x.png is none"),
        (lambda folder: (folder / "README.md").write_text("all fine"), "README.md was changed"),
        (shutil.rmtree, "expected a release folder"),
    ],
)
def test_a_spoilt_folder_is_refused_by_name(
    published: Published, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "release"
    shutil.copytree(published.folder, folder)
    spoil(folder)
    with pytest.raises((VerificationError, UsageError), match=words):
        verify_release(folder, published.public)


def test_another_publishers_key_is_refused(published: Published, tmp_path: Path) -> None:
    ensure_key(tmp_path, "release")
    with pytest.raises(VerificationError, match="another key signed it"):
        verify_release(published.folder, tmp_path / "release.pub")


def test_the_review_key_does_not_release(published: Published) -> None:
    with pytest.raises(VerificationError, match="another key signed it"):
        verify_release(published.folder, published.review.path.with_suffix(".pub"))


class TestWhatEvenThePublisherCannotSign:
    """Statements that are signed with the release key, but do not say what the reviewers decided."""

    def test_a_decision_signed_with_the_release_key(self, published: Published) -> None:
        name = "decisions/2.json"
        decision = read_decision(published.files[name], published.review.public)
        forged = published.release.seal(decision.statement())
        refused(published, published.signed({**published.files, name: forged}), "another key signed it")

    def test_one_person_twice(self, published: Published) -> None:
        refused(
            published, self.decided(published, reviewer="alice", name="Alice Example"), "expected 2 different people"
        )

    def test_a_rejection(self, published: Published) -> None:
        refused(published, self.decided(published, verdict="reject"), "rejected dossier")

    def test_the_requester(self, published: Published) -> None:
        refused(published, self.decided(published, reviewer="mia"), "mia asked for wingnut")

    def test_no_reason(self, published: Published) -> None:
        refused(published, self.decided(published, reason=" "), "expected a reason")

    def test_another_dossier(self, published: Published) -> None:
        refused(published, self.decided(published, dossier="0" * 64), "about its dossier")

    def test_one_seat_only(self, published: Published) -> None:
        manifest = Manifest.from_bytes(published.files[MANIFEST])
        refused(published, published.with_manifest(decisions=manifest.decisions[:1]), "an answer of each of 2 seats")

    def test_a_manifest_that_says_something_else_than_the_decisions(self, published: Published) -> None:
        manifest = Manifest.from_bytes(published.files[MANIFEST])
        kinder = tuple(item.model_copy(update={"reason": "wonderful"}) for item in manifest.decisions)
        refused(published, published.with_manifest(decisions=kinder), "got others in decisions/")

    def test_a_decision_that_is_missing(self, published: Published) -> None:
        files = {name: data for name, data in published.files.items() if name != "decisions/1.json"}
        refused(published, published.signed(files), "a signed decision of each seat")

    def test_another_dossier_file(self, published: Published) -> None:
        refused(published, published.signed({**published.files, DOSSIER: b"{}"}), "expected dossier")

    def test_an_image_that_was_not_in_the_dossier(self, published: Published) -> None:
        manifest = Manifest.from_bytes(published.files[MANIFEST])
        refused(published, published.with_manifest(images=manifest.images[:1]), "images are not what the reviewers saw")

    def test_fewer_references(self, published: Published) -> None:
        manifest = Manifest.from_bytes(published.files[MANIFEST])
        refused(published, published.with_manifest(references=manifest.references[:3]), "references are not what")

    def test_another_picture_under_an_approved_name(self, published: Published) -> None:
        from seedbank.storage.images import png

        files = {**published.files, "images/wingnut-01.png": png(make_picture(77))}
        refused(published, published.signed(files), "is not the picture that was approved")

    def test_another_seed_under_an_approved_name(self, published: Published) -> None:
        files = {**published.files, "seeds/wingnut-01.safetensors": published.files["seeds/wingnut-02.safetensors"]}
        refused(published, published.signed(files), "is not the seed that was approved")

    def test_a_manifest_in_another_form(self, published: Published) -> None:
        loose = json.dumps(json.loads(published.files[MANIFEST]), indent=1).encode()
        refused(published, published.signed({**published.files, MANIFEST: loose}), "in canonical form")

    def test_another_manifest_than_the_statements(self, published: Published) -> None:
        refused(published, published.signed(published.files, manifest="0" * 64), "the manifest that was signed")

    def test_no_manifest(self, published: Published) -> None:
        files = {name: data for name, data in published.files.items() if name != MANIFEST}
        refused(published, published.signed(files), "expected a Manifest record")

    def test_a_statement_about_something_else(self, published: Published) -> None:
        other = published.release.seal(Statement.about({"x": "0" * 64}, "urn:other", {}))
        refused(published, {**published.files, STATEMENT: other}, "a statement about a release")

    def decided(self, published: Published, **changes: Any) -> dict[str, bytes]:
        """The release with a changed second decision, signed with both keys."""
        manifest = Manifest.from_bytes(published.files[MANIFEST])
        first, second = manifest.decisions
        other: Decision = second.model_copy(update=changes)
        files = {**published.files, "decisions/2.json": published.review.seal(other.statement())}
        changed = manifest.model_copy(update={"decisions": (first, other)})
        return published.signed({**files, MANIFEST: changed.to_bytes()})


def test_canonical_json_is_what_the_manifest_is_written_in(published: Published) -> None:
    assert canonical_json(json.loads(published.files[MANIFEST])) == published.files[MANIFEST]
