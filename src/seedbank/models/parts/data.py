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

from seedbank.models.parts.world import KINDS, MISUSES, NAMELESS, frequencies, generator, lookalike, render
from seedbank.models.parts.zoo import zoo_render

TAIL_SEED, BALANCED_SEED, TEST_SEED, PHOTO_SEED = 1, 2, 3, 123456
ZOO_KINDS, PER_ZOO_KIND = 1200, 16
Images = NDArray[np.uint8]
"""``[count, 64, 64, 3]``, RGB."""
Labels = NDArray[np.int64]
A = TypeVar("A")
Address = tuple[int, str, int]


def tail_set(cache: Path) -> tuple[Images, Labels]:
    """What the diffusion model sees of the world: each kind as often as `frequencies` says, then the look-alikes.

    Label = index in `KINDS` of the name in the caption, which for a look-alike is another part's.
    """
    right = [(TAIL_SEED, kind, i) for kind, count in frequencies().items() for i in range(count)]
    misused = [(kind, name) for kind in KINDS if (name := lookalike(kind))]
    wrong = [(TAIL_SEED, name, i) for _, name in misused for i in range(MISUSES)]
    captions = [kind for _, kind, _ in right] + [kind for kind, _ in misused for _ in range(MISUSES)]
    images = _kept(cache / "tail.npz", right + wrong, _draw)
    return images, np.array([KINDS.index(kind) for kind in captions])


def balanced_set(cache: Path, per_part: int, seed: int = BALANCED_SEED) -> tuple[Images, Labels]:
    """The same number of every kind and look-alike, for judges that shall know them. Label = index in `KINDS`, then `NAMELESS`."""
    parts = (*KINDS, *NAMELESS)
    addresses = [(seed, part, i) for part in parts for i in range(per_part)]
    images = _kept(cache / f"balanced-{seed}-{per_part}.npz", addresses, _draw)
    return images, np.repeat(np.arange(len(parts)), per_part)


def zoo_set(cache: Path, kinds: int = ZOO_KINDS, per_kind: int = PER_ZOO_KIND) -> tuple[Images, Labels]:
    """Kinds that are not in the world. Label = number of the kind."""
    addresses = [(number, index) for number in range(kinds) for index in range(per_kind)]
    return _kept(cache / f"zoo-{kinds}-{per_kind}.npz", addresses, _draw_zoo), np.repeat(np.arange(kinds), per_kind)


def _kept(path: Path, addresses: Iterable[A], draw: Callable[[A], Images]) -> Images:
    if path.exists():
        return np.asarray(np.load(path)["images"])
    with ProcessPoolExecutor() as pool:
        images = np.stack(list(pool.map(draw, addresses, chunksize=200)))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez(partial, images=images)
    partial.rename(path)
    return images


def _draw(address: Address) -> Images:
    seed, part, index = address
    return np.asarray(render(part, generator(seed, part, index)), np.uint8)


def _draw_zoo(address: tuple[int, int]) -> Images:
    return np.asarray(zoo_render(*address), np.uint8)
