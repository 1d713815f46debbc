"""Kept measures: a photo is measured where it is decoded, in the sandbox at intake, so that nobody decodes it again to measure it.

``measures/<photo>.json`` holds them beside the working copy, from which they are taken anew once :data:`VERSION` has changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from PIL import Image

from seedbank.references.measures.photo import measure
from seedbank.references.records import Reference
from seedbank.storage import ObjectStore

VERSION = 3
"""Raise when a measure changes its meaning, comes or goes: photos are then measured anew."""
HEADER = 262_144
"""Bytes of a file that are read for traces of compression: the tables of a JPEG lie before its picture."""


def keep_measures(store: ObjectStore, photo: str, measures: Mapping[str, float]) -> None:
    """Keep what was measured at intake; what cannot be measured (NaN) is kept as nothing."""
    values = {name: None if math.isnan(value) else value for name, value in measures.items()}
    store.put(_key(photo), json.dumps({"version": VERSION, "measures": values}, sort_keys=True).encode())


def load_measures(store: ObjectStore, reference: Reference, image: Callable[[], Image.Image]) -> dict[str, float]:
    """A photo's measures by name, NaN for what could not be measured.

    Args:
        store: keeps them.
        reference: the photo.
        image: gives its working copy; called only where the kept measures are missing or of another :data:`VERSION`, to measure anew.
    """
    try:
        kept = json.loads(store.get(_key(reference.photo)))
    except KeyError:
        kept = {"version": 0}
    if kept["version"] != VERSION:
        return measure(image(), store.get(f"originals/{reference.photo}")[:HEADER])
    return {name: math.nan if value is None else float(value) for name, value in kept["measures"].items()}


def _key(photo: str) -> str:
    return f"measures/{photo}.json"
