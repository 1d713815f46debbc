"""The training sets, drawn from integers and kept as uint8 arrays so that every stage reads the same pictures.

Seeds are apart on purpose: training images, test images and example photos never share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seedbank.models.parts.world import KINDS, frequencies, generator, render
from seedbank.models.parts.zoo import zoo_render

TAIL_SEED, BALANCED_SEED, TEST_SEED, PHOTO_SEED = 1, 2, 3, 123456
Images = NDArray[np.uint8]
"""``[count, 64, 64, 3]``, RGB."""
Labels = NDArray[np.int64]
A = TypeVar("A")
Address = tuple[int, str, int]


def tail_set(cache: Path) -> tuple[Images, Labels]:
    """What the diffusion model sees of the world: each kind as often as `frequencies` says. Label = index in `KINDS`."""
    return _cached(cache / "tail.npz", [(TAIL_SEED, k, i) for k, count in frequencies().items() for i in range(count)])


def balanced_set(cache: Path, per_kind: int, seed: int = BALANCED_SEED) -> tuple[Images, Labels]:
    """The same number of every kind: for judges that shall know all of them, or for testing."""
    name = f"balanced-{seed}-{per_kind}.npz"
    return _cached(cache / name, [(seed, k, i) for k in KINDS for i in range(per_kind)])


def zoo_set(cache: Path, kinds: int, per_kind: int, first: int = 0) -> tuple[Images, Labels]:
    """Kinds that are not in the world, numbered from `first`. Label = position among them."""
    addresses = [(first + number, index) for number in range(kinds) for index in range(per_kind)]
    images = _kept(cache / f"zoo-{first}-{kinds}-{per_kind}.npz", addresses, _draw_zoo)
    return images, np.repeat(np.arange(kinds), per_kind)


def _cached(path: Path, addresses: list[Address]) -> tuple[Images, Labels]:
    return _kept(path, addresses, _draw), np.array([KINDS.index(kind) for _, kind, _ in addresses])


def _kept(path: Path, addresses: Iterable[A], draw: Callable[[A], Images]) -> Images:
    if path.exists():
        return np.asarray(np.load(path)["images"])
    with ProcessPoolExecutor() as pool:
        images = np.stack(list(pool.map(draw, addresses, chunksize=200)))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, images=images)
    partial.rename(path)
    return images


def _draw(address: Address) -> Images:
    seed, kind, index = address
    return np.asarray(render(kind, generator(seed, kind, index)), np.uint8)


def _draw_zoo(address: tuple[int, int]) -> Images:
    return np.asarray(zoo_render(*address), np.uint8)
