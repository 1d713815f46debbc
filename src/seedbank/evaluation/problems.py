"""The benchmark's problems: kinds of the shipped model's world, frequent and rare."""

from __future__ import annotations

from seedbank.errors import UsageError
from seedbank.evaluation.harness import Problem


def shipped_problem(kind: str, *, photos: int = 8, model: str = "parts", device: str = "cpu") -> Problem:
    """How to have the shipped model draw ``kind``, from clean example photos 1 to ``photos``.

    Photos come from a seed of the world that no training or judging set uses, so any kind has as many as are asked for.

    Raises:
        UsageError: the world has no such kind.
    """
    from seedbank.models import load_encoder, load_guard, load_pipeline
    from seedbank.models.parts.examples import photo
    from seedbank.models.parts.world import frequencies, prompt
    from seedbank.selection.judging.targets import stack_images

    counts = frequencies()
    if kind not in counts:
        raise UsageError(f"expected a kind of the parts world, got {kind!r}; it has {', '.join(counts)}")
    loaded, encoder, embed = load_pipeline(model), load_encoder(), load_guard()
    for part in (loaded.pipeline, encoder, embed):
        part.to(device)
    references = [photo(kind, number) for number in range(1, photos + 1)]
    return Problem(
        concept=kind,
        prompt=prompt(kind),
        references=stack_images(references, loaded.sampler.height, loaded.sampler.width),
        training_images=counts[kind],
        pipeline=loaded.pipeline,
        config=loaded.sampler,
        encoder=encoder,
        embed=embed,
    )
