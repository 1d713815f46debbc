"""A schedule as k-diffusion has it, which ComfyUI and the web UI sample with: noise levels of ``x = x0 + sigma·eps``, a sampler over
them, and what white noise is multiplied with before the first step.

Our latents are ``alpha·x0 + sigma·eps``; divided by ``alpha`` they are k-diffusion's, and DDIM becomes Euler's method (Karras et al.,
arXiv 2206.00364, appendix C). Of a flow both have ``(1 - sigma)·x0 + sigma·eps``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from seedbank.errors import RefusedError

if TYPE_CHECKING:
    from seedbank.export.files import ModelFolder
    from seedbank.selection.sampling.sampler import Sampler
    from seedbank.selection.sampling.schedules import Schedule, Step

BETA_START, BETA_END, TIMESTEPS = 0.00085, 0.012, 1000
BETAS = {
    "beta_start": BETA_START,
    "beta_end": BETA_END,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": TIMESTEPS,
}
"""The noise schedule of Stable Diffusion 1, 2 and XL: the tools have no other, and tell the network the time by it."""


@dataclass(frozen=True)
class Levels:
    """Noise levels and who steps through them.

    Attributes:
        sampler: k-diffusion's name, which ComfyUI uses.
        sigmas: before each step, and after the last.
        start: the first latents are white noise times this.
        prediction: as :attr:`~seedbank.selection.sampling.schedules.Schedule.prediction`.
        whole: whether each step is at a whole timestep of the training.
    """

    sampler: Literal["euler", "dpmpp_2m"]
    sigmas: tuple[float, ...]
    start: float
    prediction: str
    whole: bool


def levels_of(sampler: Sampler, tool: str) -> Levels:
    """The levels of a sampler's schedule.

    Raises:
        RefusedError: no sampler of k-diffusion takes these steps; ``tool`` is named in the message.
    """
    from seedbank.selection.sampling.schedules import FLOW

    schedule = sampler.schedule
    if fault := _fault(schedule, sampler.scheduler, flow=schedule.prediction == FLOW):
        raise refusal(tool, fault)
    first, last = schedule.steps[0], schedule.steps[-1]
    # What is left of noise and signal after the last step, from the weights of its sum.
    noise, signal = last.eps + last.latents * last.sigma, last.x0 + last.previous_x0 + last.latents * last.alpha
    if schedule.prediction == FLOW:
        sigmas, start = [step.sigma for step in schedule.steps], schedule.init_noise_sigma
    else:
        sigmas, start = [step.sigma / step.alpha for step in schedule.steps], schedule.init_noise_sigma / first.alpha
    return Levels(
        sampler="dpmpp_2m" if schedule.multistep else "euler",
        sigmas=(*sigmas, noise if schedule.prediction == FLOW else noise / signal),
        start=start,
        prediction=schedule.prediction,
        whole=all(float(step.timestep).is_integer() for step in schedule.steps),
    )


def check_model(sampler: Sampler, folder: ModelFolder, tool: str, *, scale: float, shift: float = 0.0) -> None:
    """Check that ``tool``, which has these numbers built in for the model's family, means the same latents by them.

    Raises:
        RefusedError: the model is of another kind: its latents are scaled differently, or its noise schedule is another.
    """
    # As they are loaded, since older files leave out what is usual.
    family, codec, scheduler = sampler.family, sampler.family.codec.vae.config, sampler.scheduler.config
    own = float(codec.scaling_factor), float(codec.get("shift_factor") or 0)
    if family.factor != 8 or own != (scale, shift) or codec.get("latents_mean"):
        raise refusal(
            tool,
            f"it takes a {folder.pipeline}'s latents for 8 pixels each, scaled by {scale:g} and shifted by {shift:g}, and this model's "
            f"are {family.factor} pixels, {own[0]:g} and {own[1]:g}",
        )
    other = {name: scheduler.get(name) for name, usual in BETAS.items() if scheduler.get(name) != usual}
    if "beta_start" in scheduler and other:
        raise refusal(tool, f"it knows no noise schedule but Stable Diffusion's, and this model's has {other}")


def refusal(tool: str, reason: str) -> RefusedError:
    """The answer no, with the reason and what to use instead."""
    return RefusedError(f"{tool} cannot draw this seed's image: {reason}; export it with --to diffusers")


def _fault(schedule: Schedule, scheduler: Any, *, flow: bool) -> str:
    name, config = type(scheduler).__name__, scheduler.config
    if any(step.noise for step in schedule.steps):
        return f"{name} adds noise on the way, and its own would be other noise than the trial's"
    if flow and name != "FlowMatchEulerDiscreteScheduler":
        return f"it has no {name} for flow models"
    if not flow and not schedule.steps[0].alpha:
        return (
            "its steps begin at pure noise without any signal (rescale_betas_zero_snr), at a level that has no number"
        )
    if not flow and config.get("prediction_type") == "sample":
        return "its network predicts images, not noise or velocity"
    if name == "DPMSolverMultistepScheduler" and not _is_2m(config, schedule.steps[-1]):
        return "it knows DPM++ only by the midpoint rule down to no noise"
    return ""


def _is_2m(config: Any, last: Step) -> bool:
    """Whether k-diffusion's ``dpmpp_2m`` takes the same steps: it ends with one of first order, at no noise."""
    return config.solver_order == 1 or (config.solver_type == "midpoint" and last.latents == 0)
