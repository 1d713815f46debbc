from pathlib import Path

import pytest

from seedbank.errors import UsageError
from seedbank.review.roster import load_roster


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_people_are_known_by_the_auth_managers_ids(tmp_path: Path) -> None:
    text = "reviewers:\n  alice: {name: Alice Example, email: alice@example.org}\n  bot: {name: Robo, scripted: true}\n"
    roster = load_roster(write(tmp_path / "roster.yaml", text))
    assert roster.required == 2
    assert [(who, person.id, person.name, person.scripted) for who, person in roster.reviewers.items()] == [
        ("alice", "alice", "Alice Example", False),
        ("bot", "bot", "Robo", True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reviewers: {alice: {name: Alice}}", "at least 2 reviewers: reviewers"),
        ("reviewers: {alice: {name: A}, bob: {}}", "reviewers.bob.name: Field required"),
        ("reviewers: {alice: {name: A}, bob: {name: B, age: x}}", "reviewers.bob.age"),
        ("reviewers: {alice: {name: A}, bob: {name: B, id: alice}}", "reviewers.bob.id"),
        ("reviewers: [alice, bob]", "reviewers"),
        ("required: 1\nreviewers: {alice: {name: A}, bob: {name: B}}", "required"),
        ("", "is not a roster"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_file_is_refused_by_field(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_roster(write(tmp_path / "roster.yaml", text))


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SEEDBANK_ROSTER"):
        load_roster(tmp_path / "none.yaml")
