"""Noise schedules as plain numbers: what each step of a scheduler adds up, for every scheduler that is supported.

At any time the latents are ``x = a·x0 + s·eps``: signal ``a`` (alpha) times the clean latents plus noise level ``s`` (sigma) times white
noise. What the network says is one of four forms of that line, and gives both ``x0`` and ``eps``. Every supported step is then one
weighted sum::

    x' = p·x + q·x0 + r·eps + u·x0_previous + w·z          z: noise drawn for this step

====================  ================================================================================================  ===========
scheduler             which weights                                                                                      source
====================  ================================================================================================  ===========
DDIM                  q = a', r = s'                                                                                     2010.02502
Euler                 q = 1, r = s' (variance exploding: a = 1, the network sees x / sqrt(1 + s²))                       2206.00364
Euler ancestral       q = 1, r = s_down, w = s_up                                                                        k-diffusion
DPM++ 2M              p = s'/s, q + u = -a'·(exp(-h) - 1), with the derivative of x0 over log-signal-to-noise            2211.01095
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


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a schedule; see the module's text for the letters.

    Attributes:
        timestep: 0-dim, the network's input, on its device.
        alpha: ``a`` before the step.
        sigma: ``s`` before the step.
        input_divisor: the network sees the latents divided by this (diffusers' ``scale_model_input``).
        latents: ``p``, the weight of the latents before the step.
        x0: ``q``, the weight of the predicted clean latents.
        eps: ``r``, the weight of the predicted noise.
        previous_x0: ``u``, the weight of the clean latents that the step before predicted.
        noise: ``w``, the weight of the noise that is drawn for this step.
    """

    timestep: Tensor
    alpha: float
    sigma: float
    input_divisor: float = 1.0
    latents: float = 0.0
    x0: float = 0.0
    eps: float = 0.0
    previous_x0: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """All steps of a scheduler.

    Attributes:
        steps: in order.
        prediction: what the network says: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``.
        init_noise_sigma: the first latents are the noise times this.
    """

    steps: tuple[Step, ...]
    prediction: str
    init_noise_sigma: float = 1.0

    @property
    def multistep(self) -> bool:
        """Whether a step looks at the clean latents that the step before predicted."""
        return any(step.previous_x0 for step in self.steps)


def make_schedule(scheduler: Any, timing: Mapping[str, Any], device: torch.device | None = None) -> Schedule:
    """The steps that ``scheduler``, which :func:`unsupported` has no fault to find with, takes for ``timing``.

    Raises:
        UsageError: it cannot take that number of steps.
    """
    # set_timesteps writes into the scheduler it is called on
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
    """DDIM (Song et al., arXiv 2010.02502), equation 12 with its sigma 0: no noise on the way."""
    # 1. the timestep after this one; past the last there is only the clean image
    stride, alphas_cumprod = own.config.num_train_timesteps // len(times), own.alphas_cumprod
    steps = []
    for timestep in times:
        here, there = int(timestep), int(timestep) - stride
        # 2. the paper's alpha_t and alpha_(t-1), which are squares of ours
        alpha_bar = alphas_cumprod[here]
        alpha_bar_next = alphas_cumprod[there] if there >= 0 else own.final_alpha_cumprod
        # 3. x_(t-1) = sqrt(alpha_(t-1))·x0 + sqrt(1 - alpha_(t-1))·eps
        steps.append(
            Step(
                timestep=timestep,
                alpha=float(alpha_bar**0.5),
                sigma=float((1 - alpha_bar) ** 0.5),
                x0=float(alpha_bar_next**0.5),
                eps=float((1 - alpha_bar_next) ** 0.5),
            )
        )
    return Schedule(tuple(steps), own.config.prediction_type)


def _euler(own: Any, times: Tensor) -> Schedule:
    """Euler (Karras et al., arXiv 2206.00364), algorithm 2 without churn and without its correction of second order."""
    sigmas = own.sigmas.tolist()
    # d = (x - x0) / s, which is eps; x' = x + (s' - s)·d = x0 + s'·eps. The network sees c_in·x, c_in = 1 / sqrt(s² + 1) (table 1)
    steps = [
        Step(timestep=timestep, alpha=1.0, sigma=sigma, input_divisor=sqrt(sigma**2 + 1), x0=1.0, eps=sigma_next)
        for timestep, sigma, sigma_next in zip(times, sigmas, sigmas[1:], strict=False)
    ]
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _ancestral(own: Any, times: Tensor) -> Schedule:
    """Euler down to ``sigma_down``, then noise up to the next level (k-diffusion, ``get_ancestral_step`` with eta 1)."""
    sigmas = own.sigmas.tolist()
    steps = []
    for timestep, sigma, sigma_next in zip(times, sigmas, sigmas[1:], strict=False):
        # 1. sigma_down² + sigma_up² = sigma'²
        sigma_up = sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2)
        sigma_down = sqrt(sigma_next**2 - sigma_up**2)
        # 2. x' = x0 + sigma_down·eps + sigma_up·z
        steps.append(
            Step(
                timestep=timestep,
                alpha=1.0,
                sigma=sigma,
                input_divisor=sqrt(sigma**2 + 1),
                x0=1.0,
                eps=sigma_down,
                noise=sigma_up,
            )
        )
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _dpm(own: Any, times: Tensor) -> Schedule:
    """DPM-Solver++ 2M (Lu et al., arXiv 2211.01095), algorithm 2: a line through the last two x0 over lambda = log(alpha/sigma)."""
    levels = [_alpha_and_sigma(level, flow=own.config.use_flow_sigmas) for level in own.sigmas.tolist()]
    lambdas = [_log_ratio(alpha, sigma) for alpha, sigma in levels]
    steps = []
    for index, timestep in enumerate(times):
        (alpha, sigma), (alpha_next, sigma_next) = levels[index], levels[index + 1]
        # 1. first order, equation 9 (DDIM): x' = (sigma'/sigma)·x - alpha'·(e^-h - 1)·x0, with h = lambda' - lambda
        h = lambdas[index + 1] - lambdas[index]
        decay = exp(-h) - 1
        x0, previous_x0 = -alpha_next * decay, 0.0
        # 2. second order: D = x0 + (x0 - x0_previous)·/(2r), with r the ratio of the step before to this one
        if index and not _first_order(own, index, len(times)):
            r = (lambdas[index] - lambdas[index - 1]) / h
            weight = _derivative_weight(own.config.solver_type, alpha_next, decay, h) / r
            x0, previous_x0 = x0 + weight, -weight
        steps.append(
            Step(
                timestep=timestep,
                alpha=alpha,
                sigma=sigma,
                latents=sigma_next / sigma,
                x0=x0,
                previous_x0=previous_x0,
            )
        )
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _first_order(own: Any, index: int, count: int) -> bool:
    """Whether a step after the first is taken without the x0 before it."""
    # diffusers' rule; at sigma' = 0 it must hold, since h = ∞ there makes r = 0, which D divides by
    config, last = own.config, index == count - 1
    few = config.lower_order_final and count < 15
    return config.solver_order == 1 or (last and (config.euler_at_final or few or config.final_sigmas_type == "zero"))


def _derivative_weight(solver: str, alpha_next: float, decay: float, h: float) -> float:
    """What ``(x0 - x0_previous) / r`` is multiplied with: exact at the midpoint, or as Heun's method has it."""
    # both are alpha'·h/2 to first order in h
    if solver == "midpoint":
        return -0.5 * alpha_next * decay
    return alpha_next * (decay / h + 1)


def _alpha_and_sigma(level: float, *, flow: bool) -> tuple[float, float]:
    """``(alpha, sigma)`` of a noise level: of a flow ``a + s = 1``, else variance preserving, ``a² + s² = 1`` and ``s/a = level``."""
    if flow:
        return 1 - level, level
    alpha = 1 / sqrt(level**2 + 1)
    return alpha, level * alpha


def _log_ratio(alpha: float, sigma: float) -> float:
    # The ends are meant to be infinite. sigma = 0: e^-h = 0, the last step gives alpha'·x0 and nothing of x.
    # alpha = 0, a flow's pure noise: r = ∞ in the second step, which is then of first order.
    if sigma == 0:
        return inf
    return log(alpha) - log(sigma) if alpha else -inf


def _lcm(own: Any, times: Tensor) -> Schedule:
    """Multistep consistency sampling (Luo et al., arXiv 2310.04378), algorithm 3."""
    alphas_cumprod = own.alphas_cumprod.tolist()
    steps = []
    for index, timestep in enumerate(times):
        alpha_bar = alphas_cumprod[int(timestep)]
        alpha_bar_next = alphas_cumprod[int(times[index + 1])] if index + 1 < len(times) else 1.0
        # 1. the consistency function by its boundary condition, equation 9: f = c_skip·x + c_out·x0
        c_skip, c_out = (float(part) for part in own.get_scalings_for_boundary_condition_discrete(int(timestep)))
        # 2. noise up to the next level: x' = alpha'·f + sigma'·z; none after the last
        steps.append(
            Step(
                timestep=timestep,
                alpha=sqrt(alpha_bar),
                sigma=sqrt(1 - alpha_bar),
                latents=sqrt(alpha_bar_next) * c_skip,
                x0=sqrt(alpha_bar_next) * c_out,
                noise=sqrt(1 - alpha_bar_next),
            )
        )
    return Schedule(tuple(steps), own.config.prediction_type, float(own.init_noise_sigma))


def _flow(own: Any, times: Tensor) -> Schedule:
    """Euler steps of rectified flow (Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003)."""
    sigmas = own.sigmas.tolist()
    # the path is x = (1 - s)·x0 + s·eps, so a step along its velocity eps - x0 ends at x' = (1 - s')·x0 + s'·eps
    steps = [
        Step(timestep=timestep, alpha=1 - sigma, sigma=sigma, x0=1 - sigma_next, eps=sigma_next)
        for timestep, sigma, sigma_next in zip(times, sigmas, sigmas[1:], strict=False)
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


def predicted_x0(prediction: str, step: Step, latents: Tensor, output: Tensor) -> Tensor:
    """``x0``, the clean latents that the network's ``output`` at ``latents`` stands for."""
    if prediction == "epsilon":  # x0 = (x - sigma·eps) / alpha
        return (latents - step.sigma * output) / step.alpha
    if prediction == "v_prediction":
        # v = alpha·eps - sigma·x0 where alpha² + sigma² = 1 (Salimans & Ho, arXiv 2202.00512); other paths are scaled to that
        size = sqrt(step.alpha**2 + step.sigma**2)
        return (step.alpha / size**2) * latents - (step.sigma / size) * output
    if prediction == FLOW:  # v = eps - x0 where alpha + sigma = 1
        return latents - step.sigma * output
    # sample: the network says x0 itself
    return output


def predicted_eps(prediction: str, step: Step, latents: Tensor, output: Tensor) -> Tensor:
    """``eps``, the white noise that the network's ``output`` at ``latents`` stands for."""
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":  # eps = sigma·x + alpha·v where alpha² + sigma² = 1
        size = sqrt(step.alpha**2 + step.sigma**2)
        return (step.alpha / size) * output + (step.sigma / size**2) * latents
    if prediction == FLOW:  # eps = x + alpha·v
        return latents + step.alpha * output
    # sample: x = alpha·x0 + sigma·eps, solved for eps
    return (latents - step.alpha * output) / step.sigma
