"""Every measure of photos and sets in one place: its name, what people call it, its unit and who defined it.

The report, the command line and ``docs/stewards.md`` print these tables; nothing here computes or judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number.

    Attributes:
        name: its column in the tables that are judged.
        label: what people call it.
        unit: what it is counted in.
        source: who defined it, or how it is counted.
    """

    name: str
    label: str
    unit: str
    source: str


PHOTO: tuple[Measure, ...] = (
    Measure("min_side_px", "shorter side", "pixels", "as decoded"),
    Measure("aspect", "aspect", "ratio", "longer side over shorter side"),
    Measure("sharpness", "sharpness", "grey levels²", "variance of the Laplacian, Pech-Pacheco et al. 2000"),
    Measure("exposure", "exposure", "share of white", "mean luma (ITU-R BT.601)"),
    Measure("contrast", "contrast", "share of white", "root-mean-square contrast, Peli 1990"),
    Measure(
        "jpeg_quality", "JPEG quality", "1 to 100", "scale of the quantisation table, ITU-T T.81 annex K and libjpeg"
    ),
    Measure("border", "borders", "share of pixels", "flat bars along the sides that end in a sharp step"),
    Measure("edge_marks", "marks at the edge", "ratio", "strongest detail along the sides over the strongest inside"),
)
"""What is measured about one photo by itself."""

RELATION: tuple[Measure, ...] = (
    Measure("sameness", "copy", "correlation", "best cross-correlation with a slight crop of a better photo"),
    Measure("likeness", "likeness", "cosine", "mean cosine to the half of the other photos it is most alike to"),
    Measure(
        "belonging", "belonging", "share", "likeness, from that of pictures of other things (0) to the usual one (1)"
    ),
    Measure(
        "sibling_margin", "agreement", "cosine", "cosine to the other photos' mean less that to the nearest sibling's"
    ),
)
"""What is measured about one photo against the concept's other photos and against the concept's siblings."""

SET: tuple[Measure, ...] = (
    Measure("photos", "photos chosen", "photos", "count"),
    Measure("usable", "usable photos", "photos", "count"),
    Measure("usable_share", "usable share", "share of the photos", "usable photos over photos"),
    Measure("peers", "photos compared", "photos", "with rights, of good quality, and no copy of a better one"),
    Measure("pinned", "pinned", "photos", "count"),
    Measure("pinned_faults", "faults of pinned photos", "faults", "what forbids using them"),
    Measure("pinned_soft", "pinned against advice", "photos", "pinned photos that break a rule"),
    Measure("rights_faults", "rights", "faults", "what forbids using the chosen photos"),
    Measure("sameness", "closest pair", "correlation", "highest among chosen photos that are not pinned"),
    Measure("belonging", "least belonging", "share", "lowest among chosen photos that are not pinned"),
    Measure("effective_number", "different photos", "photos", "Vendi score, Friedman and Dieng 2023"),
    Measure("coverage", "coverage", "cosine", "mean likeness of each compared photo to its nearest chosen one"),
    Measure("spread", "spread", "cosine distance", "mean over pairs of chosen photos"),
    Measure("sibling_margin", "agreement", "cosine", "lowest among chosen photos that are not pinned"),
    Measure("ground_spread", "backgrounds", "ΔE", "mean CIE76 colour difference of the backgrounds, over pairs"),
    Measure("colour_spread", "colours", "ΔE", "mean CIE76 colour difference of the subjects, over pairs"),
    Measure("pose_spread", "poses", "share", "1 less the mean overlap (Jaccard) of centred, scaled outlines"),
)
"""What is measured about the chosen set as a whole."""


def labels(measures: Iterable[Measure]) -> Mapping[str, Measure]:
    """Measures by name."""
    return {item.name: item for item in measures}
