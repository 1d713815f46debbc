"""For the web UI of AUTOMATIC1111: the integer from which it draws the very same noise, where there is one, and its settings.

The web UI takes no noise, only an integer. Set to draw on the CPU, it calls ``torch.randn((C, h, w))`` with a generator seeded by that
integer for each image: as plain seeds are drawn here. Any other seed it cannot draw.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import hypot, isclose
from typing import TYPE_CHECKING, Any

from seedbank.errors import RefusedError
from seedbank.export.files import ModelFolder, Package
from seedbank.export.levels import BETA_END, BETA_START, TIMESTEPS, Levels, check_model, levels_of, refusal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from seedbank.export.finds import FoundSeed
    from seedbank.selection.sampling.sampler import Sampler
    from seedbank.selection.seeds import Seed

TOOL = "the web UI of AUTOMATIC1111"
SETTINGS, CALL = "parameters.txt", "txt2img.json"
SCALES = {"StableDiffusionPipeline": 0.18215, "StableDiffusionXLPipeline": 0.13025}
"""What it scales latents with, by diffusers' name of the families that it draws."""
NEAR = 2e-3
"""By which share noise levels may differ and be called the same; neighbouring timesteps differ by four times that or more."""
BROWSER = 2**53
"""Above it the number field of the browser loses digits."""


@dataclass(frozen=True)
class Choice:
    """What is chosen in the web UI.

    Attributes:
        sampler: its name there.
        schedule: the schedule type there.
        multiplied: whether noise is multiplied with ``sqrt(1 + sigma²)`` ("SGM noise multiplier") and not with ``sigma``.
    """

    sampler: str
    schedule: str
    multiplied: bool


def for_a1111(found: FoundSeed, sampler: Sampler, folder: ModelFolder) -> Package:
    """The settings, as the web UI reads them from an image's text and as its API takes them.

    Raises:
        RefusedError: no integer gives this noise there, or nothing that can be chosen there takes the same steps.
    """
    number = integer_of(found.seed)
    if folder.pipeline not in SCALES:
        raise refusal(TOOL, f"it does not draw with a {folder.pipeline}")
    check_model(sampler, folder, TOOL, scale=SCALES[folder.pipeline])
    call = settings(found, number, choose(levels_of(sampler, TOOL), found.sampler.num_inference_steps))
    files = {SETTINGS: _as_text(call).encode(), CALL: json.dumps(call, indent=2, ensure_ascii=False).encode()}
    notes = [
        f"paste {SETTINGS} into the prompt and press the arrow below Generate, or post {CALL} to /sdapi/v1/txt2img; choose the "
        "checkpoint yourself",
        "the noise is the same to the last bit; the web UI computes in its own precision, so values may differ by a few levels of 255",
    ]
    if number > BROWSER:
        notes.append(
            "the seed has more digits than the browser's number field keeps: start the web UI with --use-textbox-seed, or use its API"
        )
    return Package(files, (*notes, *(f"{note}; the web UI would show it all" for note in sampler.notes)), call)


def integer_of(seed: Seed) -> int:
    """The integer from which ``torch.randn`` on the CPU draws this seed.

    Raises:
        RefusedError: there is none; the message says why.
    """
    import numpy as np

    from seedbank.selection.sampling.noise import GENERATOR, NEGATED, draw

    lineage = seed.lineage
    if lineage.kind != "drawn":
        made = {"optimised": "optimised", "inverted": "inverted from a photo"}.get(
            lineage.kind, "made from other seeds"
        )
        reason = f"this one was {made}, and no integer gives its noise"
    elif lineage.generator == NEGATED:
        reason = f"this one is the noise of {lineage.integer} negated, and no integer gives that"
    elif lineage.generator != GENERATOR:
        reason = f"this one was drawn by {lineage.generator!r}, which the web UI does not have"
    elif not np.array_equal(draw(lineage.integer, seed.latents.shape).numpy(), seed.latents):
        reason = f"PyTorch draws other noise from {lineage.integer} here than when this one was drawn"
    else:
        return int(lineage.integer)
    raise RefusedError(
        f"{TOOL} draws its noise itself, from an integer: {reason}; use --to diffusers or --to comfyui, which take the noise as it is"
    )


def choose(levels: Levels, steps: int) -> Choice:
    """What takes the same steps there.

    Raises:
        RefusedError: nothing does.
    """
    import numpy as np

    trained = trained_sigmas()
    ours, last = np.array(levels.sigmas[:-1]), levels.sigmas[-1]
    first = float(ours[0])
    # the two are 0.2 % apart at the highest level
    multiplied = isclose(levels.start, hypot(1, first), rel_tol=1e-4)
    if not multiplied and not isclose(levels.start, first, rel_tol=1e-4):
        raise refusal(TOOL, f"it has no setting that multiplies the noise with {levels.start:g}")
    for schedule, sigmas in schedules(trained, steps).items():
        if sigmas.shape == ours.shape and _near(sigmas, ours):
            # Its own DDIM stops at the first timestep of the training, as Stable Diffusion's scheduler does.
            if schedule == "DDIM" and levels.sampler == "euler" and multiplied and _near(last, float(trained[0])):
                return Choice("DDIM", schedule, multiplied)
            if not last:
                return Choice({"euler": "Euler", "dpmpp_2m": "DPM++ 2M"}[levels.sampler], schedule, multiplied)
    raise refusal(
        TOOL,
        f"none of its schedule types has these {steps} noise levels, {first:.4g} to {ours[-1]:.4g} and then {last:.4g}",
    )


def trained_sigmas() -> npt.NDArray[np.float64]:
    """The noise level of each timestep of the training, rising."""
    import numpy as np

    # "scaled linear": evenly spaced square roots
    kept = np.cumprod(1 - np.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS) ** 2)
    return np.asarray(np.sqrt((1 - kept) / kept))


def schedules(trained: npt.NDArray[np.float64], steps: int) -> dict[str, npt.NDArray[np.float64]]:
    """The noise levels before each step, by the web UI's schedule types."""
    import numpy as np

    last, rho = len(trained) - 1, 7

    def at(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.exp(np.interp(times, np.arange(last + 1), np.log(trained)))

    ramp = np.linspace(trained[-1] ** (1 / rho), trained[0] ** (1 / rho), steps)
    return {
        "DDIM": trained[1 :: max(len(trained) // steps, 1)][::-1],
        "Karras": ramp**rho,
        "Uniform": at(np.linspace(last, 0, steps)),
        "SGM Uniform": at(np.linspace(last, 0, steps + 1)[:-1]),
        "Simple": trained[[-(1 + int(step * len(trained) / steps)) for step in range(steps)]],
    }


def settings(found: FoundSeed, number: int, choice: Choice) -> dict[str, Any]:
    """What the web UI's API takes."""
    config = found.sampler
    return {
        "prompt": escaped(found.prompt),
        "negative_prompt": escaped(config.negative_prompt),
        "seed": number,
        "sampler_name": choice.sampler,
        "scheduler": choice.schedule,
        "steps": config.num_inference_steps,
        "cfg_scale": max(config.guidance_scale, 1.0),  # at most 1 is no guidance here, and 1 is none there
        "width": config.width,
        "height": config.height,
        "batch_size": 1,
        "override_settings": {
            "randn_source": "CPU",
            "sgm_noise_multiplier": choice.multiplied,
            "eta_noise_seed_delta": 0,
        },
    }


def escaped(prompt: str) -> str:
    """A prompt whose brackets are brackets, and no weights."""
    return re.sub(r"([()\[\]])", r"\\\1", prompt)


def _as_text(call: dict[str, Any]) -> str:
    """The same as the web UI writes it into images."""
    lines = {
        "Steps": call["steps"],
        "Sampler": call["sampler_name"],
        "Schedule type": call["scheduler"],
        "CFG scale": call["cfg_scale"],
        "Seed": call["seed"],
        "Size": f"{call['width']}x{call['height']}",
        "RNG": "CPU",
        "SGM noise multiplier": call["override_settings"]["sgm_noise_multiplier"],
    }
    negative = f"Negative prompt: {call['negative_prompt']}\n" if call["negative_prompt"] else ""
    return f"{call['prompt']}\n{negative}{', '.join(f'{name}: {value}' for name, value in lines.items())}\n"


def _near(found: Any, wanted: Any) -> bool:
    import numpy as np

    return bool(np.allclose(found, wanted, rtol=NEAR, atol=0))
