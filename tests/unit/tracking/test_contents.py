"""What an MLflow run holds of a trial, apart from the server."""

from __future__ import annotations

from pathlib import Path

from seedbank.tracking.contents import trial_contents
from support.trials import make_bank, make_trial


def test_the_description_has_the_prompt_and_every_note(tmp_path: Path) -> None:
    notes = ("the prompt is longer than the model takes; it does not see 'in red'", "sampled with DDIM instead")
    made = make_trial(make_bank(tmp_path), notes=notes)
    found = trial_contents(made.bank, made.trial).tags["mlflow.note.content"]
    asked, empty, *listed = found.splitlines()
    assert asked.startswith("“a photo of a wingnut”: search for seeds")
    assert (empty, listed) == ("", [f"- {note}" for note in notes])
    assert trial_contents(made.bank, made.trial).params["profile"] == "parts"
