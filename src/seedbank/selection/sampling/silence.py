"""Diffusers and transformers, without what they say by the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_errors() -> Iterator[None]:
    """Leaves out what both say below an error: what of it matters is checked and said once, in our words."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = [(each, each.get_verbosity()) for each in (diffusers_logging, transformers_logging)]
    for each, _ in before:
        each.set_verbosity_error()
    try:
        yield
    finally:
        for each, verbosity in before:
            each.set_verbosity(verbosity)
