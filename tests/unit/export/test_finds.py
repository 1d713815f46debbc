"""Which seed is meant, and the command as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbank.cli.app import app
from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.export.finds import find_seed, released_seed
from seedbank.release.publish import publish
from seedbank.release.verify import read_stored
from support.trials import make_bank, make_trial


def test_a_candidate_a_plain_image_and_a_released_one_are_found(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    candidate, plain = made.trial.candidates[0], made.trial.plain[0]
    found = find_seed(made.bank, candidate.seed[:12])
    assert (found.seed.digest, found.prompt, found.released) == (candidate.seed, made.trial.prompt, False)
    assert found.origin == f"trial {made.trial.key[:12]} of wingnut"
    assert find_seed(made.bank, plain.seed).seed.lineage.kind == "drawn"
    files = read_stored(made.bank, publish(made.bank, made.approve().digest).folder)
    released = released_seed(files, candidate.seed[:12])
    assert (released.seed, released.released) == (found.seed, True)
    with pytest.raises(UsageError, match="the release has no image that has the seed 'abcdefabcdef'"):
        released_seed(files, "abcdefabcdef")
    with pytest.raises(VerificationError, match=r"expected manifest\.json in the release, it is missing"):
        released_seed({}, candidate.seed)


def test_what_is_no_accepted_seed_is_refused(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    with pytest.raises(RefusedError, match=r"was not accepted \(the guard sees no better image\)"):
        find_seed(made.bank, made.trial.candidates[-1].seed)
    with pytest.raises(UsageError, match="expected at least 6 digits"):
        find_seed(made.bank, "abc")
    with pytest.raises(UsageError, match="no finished trial and no expansion has the seed 'abcdef12'"):
        find_seed(made.bank, "abcdef12")


def test_a_changed_seed_is_refused(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    one, other = (f"{made.trial.folder}/seeds/{candidate.seed}.safetensors" for candidate in made.trial.candidates[:2])
    made.bank.store.put(one, made.bank.store.get(other))
    with pytest.raises(VerificationError, match="was changed in"):
        find_seed(made.bank, made.trial.candidates[0].seed)


def test_the_command_exports_for_the_shipped_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from seedbank.models import load_pipeline

    loaded = load_pipeline("parts")
    made = make_trial(make_bank(tmp_path), shape=(4, 16, 16), model=loaded.card, sampler=loaded.sampler)
    seed = made.trial.candidates[0].seed
    monkeypatch.setenv("SEEDBANK_HOME", str(tmp_path))

    def seedbank(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            app(["export", seed[:12], *arguments], prog_name="seedbank")
        assert not ended.value.code
        return capsys.readouterr().out

    told = json.loads(seedbank("--to", "diffusers", "--out", str(tmp_path / "out"), "--json"))
    assert (told["seed"], told["files"]) == (seed, ["draw.py", "seed.safetensors"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == told["files"]
    assert "run: python draw.py" in seedbank("--to", "diffusers", "--out", str(tmp_path / "out"))
    with pytest.raises(RefusedError, match="ComfyUI cannot draw this seed's image"):
        app(["export", seed, "--to", "comfyui"], prog_name="seedbank")
    with pytest.raises(RefusedError, match="this one was optimised"):
        app(["export", seed, "--to", "a1111"], prog_name="seedbank")
    with pytest.raises(UsageError, match="expected --to diffusers, comfyui, a1111, got 'paint'"):
        app(["export", seed, "--to", "paint"], prog_name="seedbank")
