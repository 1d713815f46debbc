"""White noise as a place to move in: steps along the shell, never off it, and tests of whether noise is still white.

In d dimensions a Gaussian's norm is sqrt(d) give or take 0.71: seeds live on a thin shell, and a network that never saw anything else draws
blurs and cartoons off it. Every function takes seeds ``[B, C, h, w]`` and works on each alone.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor


def norm(seeds: Tensor) -> Tensor:
    """Euclidean length of each seed, ``[B, 1, 1, 1]``."""
    length: Tensor = torch.linalg.vector_norm(seeds, dim=(1, 2, 3), keepdim=True)
    return length


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair, ``[B, 1, 1, 1]``."""
    return (a * b).flatten(1).sum(1)[:, None, None, None]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between each pair, ``[B]``."""
    return (dot(a, b) / (norm(a) * norm(b))).flatten()


def retract(seeds: Tensor, length: Tensor) -> Tensor:
    """``seeds`` scaled to ``length``: back onto the shell, exactly."""
    return seeds * (length / norm(seeds))


def tangent(gradient: Tensor, seeds: Tensor) -> Tensor:
    """The part of ``gradient`` along the shell: without its component towards or away from the origin."""
    return gradient - seeds * (dot(gradient, seeds) / dot(seeds, seeds))


def unit(vectors: Tensor) -> Tensor:
    """``vectors`` of length 1; zero stays zero."""
    return vectors / norm(vectors).clamp_min(torch.finfo(vectors.dtype).tiny)


def trust(seeds: Tensor, start: Tensor, cosine_floor: float) -> Tensor:
    """``seeds``, or where they strayed further from ``start`` than ``cosine_floor`` allows, the nearest point of that cone.

    Lengths are kept.
    """
    towards = unit(start)
    across = unit(seeds - towards * dot(seeds, towards))
    # in the plane of start and seed, at the cone's angle: |z|·(c·t + sqrt(1 - c²)·n), n ⊥ t
    edge = norm(seeds) * (cosine_floor * towards + sqrt(1 - cosine_floor**2) * across)
    return torch.where((cosine(seeds, start) < cosine_floor)[:, None, None, None], edge, seeds)


def norm_score(seeds: Tensor) -> Tensor:
    """How many standard deviations each seed's norm lies from a Gaussian's (chi with d degrees of freedom, d large), ``[B]``."""
    d = seeds[0].numel()
    # chi with d degrees of freedom: mean about sqrt(d - 1/2), variance about 1/2
    return (norm(seeds).flatten() - sqrt(d - 0.5)) * sqrt(2)


def whiten(seeds: Tensor, limit: float, rounds: int = 8) -> Tensor:
    """The seeds with what is not white about them taken back, where :func:`whiteness` passes ``limit``; lengths are kept.

    Each channel's mean and variance are drawn in to well within ``limit``, and where neighbouring values still lean on each other its
    power spectrum is levelled band by band (as GPER projects noise, arXiv 2602.08646). Phases, which hold what the seed draws, stay.
    """
    repaired = seeds
    for number in range(rounds):
        stained = (whiteness(repaired) > limit)[:, None, None, None]
        if not stained.any():
            break
        # aimed below the limit, and lower each round: repairing one test, and the length, moves the others
        repaired = torch.where(stained, retract(_levelled(repaired, limit / (2 + number)), norm(seeds)), repaired)
    return repaired


def _levelled(seeds: Tensor, limit: float) -> Tensor:
    """Power of each channel's bands of spatial frequency, and each channel's mean, drawn in to within ``limit`` standard deviations."""
    height, width = seeds.shape[-2:]
    # orthonormal: white noise has an expected power of 1 at every frequency
    spectrum = torch.fft.fft2(seeds, norm="ortho")
    power = spectrum.abs().square()
    gain = torch.ones_like(power)
    for band in _bands(height, width, seeds.device):
        count = float(band.sum())
        mean = power[..., band].mean(-1)
        slack = limit * sqrt(2 / count)  # each place's power is exponential, and its mirror image's the same
        gain[..., band] = (mean.clamp(max(1 - slack, 0.05), 1 + slack) / mean.clamp_min(1e-12)).sqrt()[..., None]
    # |sum| / sqrt(h·w), the z-score of the channel's mean: only ever drawn in, never raised
    constant = power[..., 0, 0].sqrt()
    gain[..., 0, 0] = (constant.clamp(max=limit) / constant.clamp_min(1e-12)).clamp(max=1)
    # bands go by |frequency|, so the gain keeps the spectrum Hermitian: what is imaginary is rounding
    return torch.as_tensor(torch.fft.ifft2(spectrum * gain, norm="ortho").real)


def _bands(height: int, width: int, device: torch.device) -> list[Tensor]:
    """Masks ``[h, w]`` over frequencies, without the constant: low and high, along rows and along columns."""
    rows = torch.fft.fftfreq(height, device=device).abs()[:, None].expand(height, width)
    columns = torch.fft.fftfreq(width, device=device).abs()[None, :].expand(height, width)
    high_rows, high_columns = rows > 0.25, columns > 0.25
    bands = [r & c for r in (high_rows, ~high_rows) for c in (high_columns, ~high_columns)]
    # the last band is low and low, where the constant is
    bands[-1] = bands[-1] & ((rows > 0) | (columns > 0))
    return [band for band in bands if bool(band.any())]


def whiteness(seeds: Tensor) -> Tensor:
    """The largest absolute z-score of each seed under tests that white noise passes, ``[B]``.

    Tested for each channel: mean, variance, and correlation with itself one place to the right and one place down.
    """
    places = seeds.shape[-1] * seeds.shape[-2]
    # [B, C] each. Var(mean) = 1/n; Var(s²) = 2/(n - 1); a product of two independent values has variance 1
    mean = seeds.mean((2, 3)) * sqrt(places)
    variance = (seeds.var((2, 3)) - 1) * sqrt((places - 1) / 2)
    centred = seeds - seeds.mean((2, 3), keepdim=True)
    right = (centred[..., 1:] * centred[..., :-1]).mean((2, 3)) * centred[..., 1:][0, 0].numel() ** 0.5
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean((2, 3)) * centred[..., 1:, :][0, 0].numel() ** 0.5
    return torch.stack([mean, variance, right, down]).abs().amax((0, 2))
