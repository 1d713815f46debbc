"""The shipped model: what an image's bytes depend on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.tolerance import same_pixels

pytestmark = pytest.mark.integration

DRAW = """
import numpy as np, torch
from seedbank.models import load_pipeline
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sampler import make_sampler
model = load_pipeline("parts")
sampler = make_sampler(model.pipeline, "a photo of a wingnut", model.sampler.model_copy(update={"num_inference_steps": 3}))
noise = draws("drawing", range(5), sampler.noise_shape)
assert sampler.config.batch_size == 8
for threads in (1, 2):
    torch.set_num_threads(threads)
    together, alone, turned = sampler.draw(noise), sampler.draw(noise[3:4]), sampler.draw(noise.flip(0))
    assert np.array_equal(alone[0], together[3]) and np.array_equal(turned[::-1], together), "it depends on what is drawn with it"
    np.save(f"{threads}.npy", together)
"""


def test_an_images_bytes_depend_on_the_threads_alone_and_by_one_level(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DRAW], cwd=tmp_path, check=True, timeout=280)
    same_pixels(np.load(tmp_path / "1.npy"), np.load(tmp_path / "2.npy"))
