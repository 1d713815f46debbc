"""Faces: whether a photo may show somebody. A cascade only raises the question; a person answers it, and no answer means no use.

Source: scikit-image's multi-block local binary pattern cascade for frontal faces (Zhang et al., "Face Detection Based on Multi-Block LBP
Representation", 2007), whose trained file ships in its wheel. It sees upright frontal faces from about a fifth of the longer side on, but
no smaller ones, profiles or backs of heads: its silence proves nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SIDE = 160
"""Longer side in pixels at which faces are looked for, so that any photo costs the same few milliseconds."""
WINDOW = 24
"""Pixels; the smallest face the cascade was trained on."""
STEP, SCALE = 1.5, 1.25
"""How finely positions and sizes are tried: measured on our photos, finer costs three times as much and hardly finds more."""
AGREEING = 2
"""How many overlapping windows make a face."""


def count_faces(image: Image.Image) -> int:
    """How many places of an upright RGB picture look like a face."""
    # By whole numbers down to about twice the size, which is cheap, then exactly.
    small = image.reduce(max(1, max(image.size) // (2 * SIDE)))
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    if min(small.size) < WINDOW:
        return 0
    found = cascade().detect_multi_scale(
        img=np.asarray(small),
        scale_factor=SCALE,
        step_ratio=STEP,
        min_size=(WINDOW, WINDOW),
        max_size=(SIDE, SIDE),
        min_neighbor_number=AGREEING,
    )
    return len(found)


@cache
def cascade() -> Any:
    """The cascade, read once a process."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())
