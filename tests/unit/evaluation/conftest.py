"""A problem on the tiny pipeline, and an auditor with random weights."""

from __future__ import annotations

from typing import Any

import pytest

from seedbank.models.card import ModelCard
from seedbank.selection.records import SamplerConfig


@pytest.fixture(scope="session")
def problem(pipeline: Any, photos: Any, encoder: Any, guard: Any, sampler_config: SamplerConfig) -> Any:
    from seedbank.evaluation.harness import Problem
    from seedbank.selection.judging.targets import stack_images

    return Problem("disc", "a b", stack_images(photos, 16, 16), 12, pipeline, sampler_config, encoder, guard)


@pytest.fixture(scope="session")
def starts(problem: Any) -> list[Any]:
    """Two plain seeds."""
    from seedbank.selection.sampling.noise import plain_seed

    return [plain_seed("s", index, problem.sampler.noise_shape) for index in range(2)]


@pytest.fixture(scope="session")
def auditor() -> Any:
    """A tiny classifier of three classes."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    from seedbank.models.judges import Auditor, Preprocess

    torch.manual_seed(4)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)
    network = ResNetForImageClassification(config).eval().requires_grad_(False)
    card = ModelCard(name="tiny", source="test", content="0" * 64)
    return Auditor(network, ("disc", "square", "star"), Preprocess(16, (0.5,) * 3, (0.5,) * 3), card)
