"""The method, end to end: explore plain seeds, optimise the best of them, draw and judge what they led to.

::

    select(pipeline, "a photo of a wingnut", photos, encoder=encoder, guard_encoder=guard)

A library function: no storage, no tracking, no scheduler of jobs. Its stages can be called by themselves; see
:mod:`~seedbank.selection.search.explore`, :mod:`~seedbank.selection.search.optimise` and :mod:`~seedbank.selection.search.draw`.

The same arguments give the same result, bit by bit, whether or not the search was interrupted and resumed on the way, as long as the
versions of the libraries, the kind of processor and the number of threads are the same, and no batch had to be halved for want of memory;
only ``Selection.seconds`` differs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from seedbank.selection.judging.guard import Embed
from seedbank.selection.judging.targets import Encoder
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.search.checkpoint import Checkpoint
from seedbank.selection.search.clock import Clock
from seedbank.selection.search.draw import draw
from seedbank.selection.search.explore import explore
from seedbank.selection.search.optimise import optimise
from seedbank.selection.search.recipes import BALANCED, Recipe
from seedbank.selection.search.results import Observer, Selection
from seedbank.selection.search.seed_search import SeedSearch

log = logging.getLogger(__name__)


def select(
    pipeline: Any,
    prompt: str,
    references: Sequence[Image.Image],
    *,
    encoder: Encoder,
    guard_encoder: Embed,
    recipe: Recipe = BALANCED,
    starts: int = 8,
    plain: int = 8,
    root: str = "0",
    config: SamplerConfig | None = None,
    observe: Observer = lambda _event: None,
    resume: Checkpoint | None = None,
) -> Selection:
    """Find seeds that make ``pipeline`` draw what ``references`` show.

    Args:
        pipeline: a diffusers pipeline of a supported family; it is not changed.
        prompt: what to draw.
        references: photos of it, of any size and aspect.
        encoder: the embedding whose gradient is followed.
        guard_encoder: another embedding, never differentiated, that accepts or rejects.
        recipe: how to search.
        starts: how many seeds to optimise.
        plain: how many plain seeds to draw for comparison.
        root: the integer, as a decimal string, that all draws derive from.
        config: how to sample; default as the family usually is.
        observe: called after each batch and iteration.
        resume: a checkpoint of an interrupted call with the same arguments.

    Raises:
        UsageError: no references, or a pipeline that is not supported.
        OutOfMemory: not even one image fits.
    """
    clock, sampler = Clock(observe), make_sampler(pipeline, prompt, config)
    # Before anything is drawn: whoever reads it may want to ask otherwise.
    for note in sampler.notes:
        log.warning("%s", note)
    search = SeedSearch(
        sampler=sampler,
        references=references,
        encoder=encoder,
        guard_encoder=guard_encoder,
        recipe=recipe,
        root=root,
    )
    exploration = explore(search, resume=resume, observe=clock)
    optimised = None
    if exploration.diagnosis.recommendation != "unreachable":
        optimised = optimise(search, exploration, starts=starts, resume=resume, observe=clock)
    selection = draw(search, exploration, optimised, plain=plain, observe=clock)
    return replace(selection, notes=sampler.notes, seconds=clock.seconds)
