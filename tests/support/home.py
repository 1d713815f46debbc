"""A home with a model of the user's own: tiny, random, in local folders; and the command line in this process.

Random judges know nothing, and a random model draws noise. So what is right is what the model draws: the photos are its images from other
seeds, enlarged. The policy takes noise for a photo, the profile lets the guard accept far from it, and both say so.
"""

from __future__ import annotations

import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from seedbank.bank import Bank
from seedbank.cli import main
from seedbank.review.roster import load_roster
from seedbank.settings import Settings
from support import judges
from support.photos import RIGHTS, jpeg, put
from support.pipelines import SIDE
from support.profiles import write_profiles
from support.trials import ROSTER, answer, write_roster

CONCEPT, PROFILE = "cog", "tiny"
NOISE_IS_A_PHOTO: dict[str, Any] = {
    "quality": {"min_sharpness": 0.0, "min_contrast": 0.0},
    "references": {"min_belonging": 0.0, "max_sameness": 1.0},
    "selection": {"candidates": 1, "plain": 2},
}
"""Sharpness, contrast and likeness mean nothing in pictures of random weights. All other gates are as they are."""
ACCEPTS_NEARLY_ALL = {"guard_slack": 1e3}
PRESET = "seedselect_v1"
"""The one in which the encoder, which knows nothing here, has no say in acceptance."""
PHOTOS = 5
PHOTO_SIDE = 160
PROGRESS = re.compile(r"\d+/\d+ +\d+:\d\d:\d\d *$|\d+%[^%]*$|network evaluations, at most ")
"""How a progress bar ends, with what is done and the time, and what of an estimate is in no other line."""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The document that it printed; it succeeded."""
        assert self.code == 0, self.err
        return dict(json.loads(self.out))

    @property
    def said(self) -> list[str]:
        """What stands on standard error besides progress and estimates, line by line."""
        return [line for line in self.err.splitlines() if line.strip() and not PROGRESS.search(line)]


@dataclass(frozen=True)
class Home:
    """Folders of a user, and what they do in them."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """What says where everything is."""
        places = {"HOME": "home", "CONCEPTS": "concepts", "MODELS": "models"}
        return {f"SEEDBANK_{name}": str(self.root / place) for name, place in places.items()} | {
            "SEEDBANK_ACTOR": "mia"
        }

    @property
    def bank(self) -> Bank:
        """Where everything is kept."""
        return Bank.open(Settings.from_env(self.environment))

    def run(self, *arguments: str) -> Done:
        """The command line, in this process, where torch is loaded already."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setenv("COLUMNS", "160")
            patch.setattr(sys, "argv", ["seedbank", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def write_concept(self, **fields: Any) -> None:
        """The concept, with other fields than usual."""
        concept = {"name": CONCEPT, "prompt": CONCEPT, "owner": "mia", "model": PROFILE, "preset": PRESET}
        (self.root / "concepts").mkdir(exist_ok=True)
        text = yaml.safe_dump(concept | {"policy": NOISE_IS_A_PHOTO} | fields)
        (self.root / "concepts" / f"{CONCEPT}.yaml").write_text(text)

    def write_profile(self, **fields: Any) -> None:
        """The model profile, with other fields than usual."""
        # A size of its own: a saved Flux has forgotten for which it was made.
        sampler = {"num_inference_steps": 2, "height": SIDE, "width": SIDE}
        usual = {"pipeline": "engine", "sampler": sampler, "limits": ACCEPTS_NEARLY_ALL}
        usual |= {"encoder": ["siglip", "clip"], "guard": "dinov2"}
        write_profiles(self.root / "models", **{PROFILE: usual | fields})

    def write_photos(self) -> Path:
        """Photos of the concept, as the model draws it from other seeds than a search explores; their folder."""
        from seedbank.models.drawing import plain_images
        from seedbank.models.loading import load_model

        model, folder = load_model(self.bank.profile(PROFILE)), self.root / "photos"
        drawn = plain_images(model, CONCEPT, root="99", count=PHOTOS, progress=lambda _done, _total: None)
        for number, pixels in enumerate(drawn):
            large = Image.fromarray(pixels).resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)
            put(folder / CONCEPT, f"{number}.jpg", jpeg(large, 95), RIGHTS | {"people_checked_by": "dana"})
        return folder

    def approve(self, dossier: str) -> None:
        """Two people say yes."""
        bank = self.bank
        reviewers = load_roster(bank.settings.roster).reviewers
        for seat, who in enumerate(("alice", "bob"), start=1):
            answer(bank, dossier, seat, reviewers[who])


def make_home(root: Path, pipeline: Any) -> Home:
    """A home with ``pipeline``, judges, a profile, a concept, photos that nobody has taken in yet, and people who may review."""
    made = Home(root)
    pipeline.save_pretrained(root / "models" / "engine")
    for name in ("siglip", "clip", "dinov2"):
        getattr(judges, name)(root / "models" / name)
    made.write_profile()
    made.write_concept()
    made.write_photos()
    write_roster(made.bank.settings, ROSTER)
    return made
