"""Noise schedules as plain numbers: what each step of a scheduler adds up, for every scheduler that is supported.

At any time the latents are ``x = a·x0 + s·e``: signal ``a`` times the clean sample plus noise level ``s`` times white noise. What the
network says is one of four readings of that line, and gives both ``x0`` and ``e``. Every supported step is then one weighted sum::

    x' = p·x + q·x0 + r·e + u·x0_before + w·fresh noise

====================  ================================================================================================  ===========
scheduler             which weights                                                                                      source
====================  ================================================================================================  ===========
DDIM                  q = a', r = s'                                                                                     2010.02502
Euler                 q = 1, r = s' (variance exploding: a = 1, the network sees x / sqrt(1 + s^2))                       2206.00364
Euler ancestral       q = 1, r = s_down, w = s_up                                                                         k-diffusion
DPM++ 2M              p = s'/s, q + u = -a'·(exp(-h) - 1), with the slope of x0 over log-signal-to-noise                 2211.01095
LCM                   p, q from the boundary condition times a', w = s'                                                  2310.04378
flow Euler            q = 1 - s', r = s'                                                                                 2210.02747
====================  ================================================================================================  ===========

The numbers come from a private copy of the pipeline's own scheduler object, which itself stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Any

import torch
from torch import Tensor

from seedbank.errors import UsageError

DIFFUSION = ("epsilon", "v_prediction", "sample")
FLOW = "flow_prediction"


@dataclass(frozen=True)
class Step:
    """One step of a schedule; see the module's text for the letters.

    Attributes:
        timestep: 0-dim, what the network is told, on its device.
        signal: ``a`` before the step.
        noise: ``s`` before the step.
        divisor: the network sees the latents divided by this.
        latents: ``p``.
        clean: ``q``.
        white: ``r``.
        history: ``u``.
        fresh: ``w``.
    """

    timestep: Tensor
    signal: float
    noise: float
    divisor: float = 1.0
    latents: float = 0.0
    clean: float = 0.0
    white: float = 0.0
    history: float = 0.0
    fresh: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """All steps of a scheduler.

    Attributes:
        steps: in order.
        prediction: what the network says: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``.
        start: the first latents are the noise times this (``init_noise_sigma``).
    """

    steps: tuple[Step, ...]
    prediction: str
    start: float = 1.0

    @property
    def remembers(self) -> bool:
        """Whether a step looks at the clean sample of the step before."""
        return any(step.history for step in self.steps)

    @property
    def draws(self) -> bool:
        """Whether fresh noise is added on the way."""
        return any(step.fresh for step in self.steps)


def make_schedule(scheduler: Any, timing: Mapping[str, Any], device: torch.device | None = None) -> Schedule:
    """The steps that ``scheduler``, which :func:`unsupported` has no fault to find with, takes when told of ``timing``.

    Raises:
        UsageError: it cannot take that number of steps.
    """
    own = type(scheduler).from_config(scheduler.config)
    try:
        own.set_timesteps(**timing)
    except (ValueError, TypeError) as error:  # diffusers raises the latter for arguments a scheduler does not know
        count = timing.get("num_inference_steps", "these")
        raise UsageError(
            f"{type(own).__name__} cannot take {count} steps: {error}; ask for another number of steps"
        ) from error
    return SCHEDULERS[type(own).__name__](own, own.timesteps.to(device))


def named_scheduler(scheduler: Any, name: str) -> Any:
    """A fresh copy of ``scheduler``, or the scheduler called ``name`` with the same noise schedule.

    Raises:
        UsageError: its steps cannot be reproduced.
    """
    if name == type(scheduler).__name__:
        kind, plain = type(scheduler), {}
    elif name in SCHEDULERS:
        import diffusers

        kind = getattr(diffusers, name)
        plain = {"clip_sample": False} if name == "DDIMScheduler" else {}  # its default would clip
    else:
        raise UsageError(
            f"expected one of {', '.join(SCHEDULERS)}, got {name}; name one of these in the sampler's config"
        )
    own = kind.from_config(scheduler.config, **plain)
    fault = unsupported(own)
    if fault:
        raise UsageError(f"{fault}; name another scheduler in the sampler's config, such as DDIMScheduler")
    return own


def unsupported(scheduler: Any) -> str:
    """Why the sampler cannot take ``scheduler``'s steps, or nothing."""
    name, config = type(scheduler).__name__, scheduler.config
    if name not in SCHEDULERS:
        return f"expected one of {', '.join(SCHEDULERS)}, got {name}"
    if config.get("clip_sample") or config.get("thresholding"):
        return f"expected a {name} without clipping, got clip_sample or thresholding; clipped samples have no gradient"
    prediction = config.get("prediction_type", FLOW)
    if prediction not in (*DIFFUSION, FLOW):
        return f"expected a {name} that predicts one of {', '.join((*DIFFUSION, FLOW))}, got {prediction!r}"
    wrong = {key: config[key] for key, right in _MUST.get(name, {}).items() if config.get(key, right[0]) not in right}
    if wrong:
        return f"expected a deterministic {name} of order 1 or 2, got {wrong}"
    if name == "DDIMScheduler" and prediction == "epsilon" and config.get("rescale_betas_zero_snr"):
        return "expected no zero terminal signal-to-noise ratio with epsilon prediction, where the first step divides by zero"
    return ""


_MUST: dict[str, dict[str, tuple[Any, ...]]] = {
    "DPMSolverMultistepScheduler": {"algorithm_type": ("dpmsolver++",), "solver_order": (1, 2)},
    "FlowMatchEulerDiscreteScheduler": {"stochastic_sampling": (False,), "invert_sigmas": (False,)},
}
"""Settings and the values they may have."""


def _ddim(own: Any, times: Tensor) -> Schedule:
    """Equation 12 of arXiv 2010.02502 with sigma 0."""
    stride, alphas = own.config.num_train_timesteps // len(times), own.alphas_cumprod
    steps = []
    for time in times:
        here, there = int(time), int(time) - stride
        alpha, after = alphas[here], alphas[there] if there >= 0 else own.final_alpha_cumprod
        steps.append(
            Step(time, float(alpha**0.5), float((1 - alpha) ** 0.5),
                 clean=float(after**0.5), white=float((1 - after) ** 0.5))
        )  # fmt: skip
    return Schedule(tuple(steps), own.config.prediction_type)


def _euler(own: Any, times: Tensor) -> Schedule:
    """Algorithm 1 of arXiv 2206.00364 without churn."""
    levels = own.sigmas.tolist()
    steps = [
        Step(time, 1.0, here, divisor=sqrt(here**2 + 1), clean=1.0, white=there)
        for time, here, there in zip(times, levels, levels[1:], strict=False)
    ]
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _ancestral(own: Any, times: Tensor) -> Schedule:
    """Euler down to ``s_down``, then fresh noise up to the next level: ``s_down^2 + s_up^2 = s'^2``."""
    levels = own.sigmas.tolist()
    steps = []
    for time, here, there in zip(times, levels, levels[1:], strict=False):
        up = sqrt(there**2 * (here**2 - there**2) / here**2)
        down = sqrt(there**2 - up**2)
        steps.append(Step(time, 1.0, here, divisor=sqrt(here**2 + 1), clean=1.0, white=down, fresh=up))
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _dpm(own: Any, times: Tensor) -> Schedule:
    """Algorithm 2 (2M) of arXiv 2211.01095: a line through the last two clean samples over the log signal-to-noise ratio."""
    pairs = [_signal_and_noise(level, flow=own.config.use_flow_sigmas) for level in own.sigmas.tolist()]
    steps = []
    for index, time in enumerate(times):
        (signal, noise), (signal_after, noise_after) = pairs[index], pairs[index + 1]
        here, after = _log_ratio(signal, noise), _log_ratio(signal_after, noise_after)
        decay = exp(here - after) - 1  # exp(-h) - 1
        clean, history = -signal_after * decay, 0.0
        if index and not _first_order(own, index, len(times)):
            ratio = (here - _log_ratio(*pairs[index - 1])) / (after - here)
            slope = _slope_weight(own.config.solver_type, signal_after, decay, after - here) / ratio
            clean, history = clean + slope, -slope
        steps.append(Step(time, signal, noise, latents=noise_after / noise, clean=clean, history=history))
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _first_order(own: Any, index: int, count: int) -> bool:
    """Whether a step after the first is taken without history."""
    config, last = own.config, index == count - 1
    few = config.lower_order_final and count < 15
    return config.solver_order == 1 or (last and (config.euler_at_final or few or config.final_sigmas_type == "zero"))


def _slope_weight(solver: str, signal: float, decay: float, width: float) -> float:
    if solver == "midpoint":
        return -0.5 * signal * decay
    return signal * (decay / width + 1)


def _signal_and_noise(level: float, *, flow: bool) -> tuple[float, float]:
    if flow:
        return 1 - level, level
    signal = 1 / sqrt(level**2 + 1)
    return signal, level * signal


def _log_ratio(signal: float, noise: float) -> float:
    if noise == 0:
        return inf
    return log(signal) - log(noise) if signal else -inf


def _lcm(own: Any, times: Tensor) -> Schedule:
    """Multistep sampling of arXiv 2310.04378: to the clean sample by the boundary condition, then noise of the next level."""
    alphas = own.alphas_cumprod.tolist()
    steps = []
    for index, time in enumerate(times):
        alpha = alphas[int(time)]
        skip, out = (float(part) for part in own.get_scalings_for_boundary_condition_discrete(int(time)))
        after = alphas[int(times[index + 1])] if index + 1 < len(times) else 1.0
        steps.append(
            Step(time, sqrt(alpha), sqrt(1 - alpha), latents=sqrt(after) * skip, clean=sqrt(after) * out,
                 fresh=sqrt(1 - after))
        )  # fmt: skip
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _flow(own: Any, times: Tensor) -> Schedule:
    """Euler steps along the velocity ``e - x0`` of arXiv 2210.02747."""
    levels = own.sigmas.tolist()
    steps = [
        Step(time, 1 - here, here, clean=1 - there, white=there)
        for time, here, there in zip(times, levels, levels[1:], strict=False)
    ]
    return Schedule(tuple(steps), FLOW)


SCHEDULERS: Mapping[str, Callable[[Any, Tensor], Schedule]] = {
    "DDIMScheduler": _ddim,
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _ancestral,
    "DPMSolverMultistepScheduler": _dpm,
    "LCMScheduler": _lcm,
    "FlowMatchEulerDiscreteScheduler": _flow,
}
"""The schedulers whose steps are reproduced, by name."""


def predicted_clean(prediction: str, step: Step, latents: Tensor, output: Tensor) -> Tensor:
    """``x0``, the clean latents that the network's ``output`` at ``latents`` stands for."""
    if prediction == "epsilon":
        return (latents - step.noise * output) / step.signal
    if prediction == "v_prediction":
        size = sqrt(step.signal**2 + step.noise**2)
        return (step.signal / size**2) * latents - (step.noise / size) * output
    if prediction == FLOW:
        return latents - step.noise * output
    return output


def predicted_noise(prediction: str, step: Step, latents: Tensor, output: Tensor) -> Tensor:
    """``e``, the white noise that the network's ``output`` at ``latents`` stands for."""
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":
        size = sqrt(step.signal**2 + step.noise**2)
        return (step.signal / size) * output + (step.noise / size**2) * latents
    if prediction == FLOW:
        return latents + step.signal * output
    return (latents - step.signal * output) / step.noise
