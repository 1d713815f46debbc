"""The report of a reference set: one HTML page that needs nothing else, for the steward and for whoever asks why these photos.

It shows what was found and judges nothing. The same content always gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_uppercase
from typing import Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from seedbank.concepts import Concept
from seedbank.references.choosing.choice import Choice
from seedbank.references.judging.measured_photos import MeasuredPhotos
from seedbank.references.judging.siblings import Siblings
from seedbank.references.judging.suites import PHOTOS, PRESENT, ROWS, Rule, Suite
from seedbank.references.measures import catalogue
from seedbank.references.records import Assessment, Check, Examination
from seedbank.references.report import plots

SHOWN = 200
"""Photos on the contact sheet and on the map; of more, the chosen ones and the first others are shown, and how many there are is said."""
PICTURED = 60
"""Photos on the map up to which they are drawn as images; more would hide each other and are dots."""
STAMP = 40
"""Side in pixels of an image on the map."""
STRIP = 72
"""Height in pixels of what the model draws for a sibling."""
NAMED = 6
"""Photos that are named in a row of the table of expectations."""

PhotoStatus = Literal["chosen", "spare", "out"]
"""In the set; usable and not needed; not usable."""


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything a report shows.

    Attributes:
        concept: whose photos they are.
        examination: what came of its photos.
        photos: the measured photos.
        choice: the chosen photos.
        siblings: what the photos were compared with.
        suites: the expectations, by table.
        checks: how each of them came out.
        sibling_images: what the model draws for each sibling prompt, as image files.
    """

    concept: Concept
    examination: Examination
    photos: MeasuredPhotos
    choice: Choice
    siblings: Siblings
    suites: Mapping[str, Suite]
    checks: Sequence[Check]
    sibling_images: Sequence[bytes] = ()


@dataclass(frozen=True)
class Card:
    """One photo of the contact sheet."""

    assessment: Assessment
    status: PhotoStatus
    number: int
    """Its place in the set, from 1; 0 for photos that are not in it."""
    image: str
    point: plots.MapPoint
    stamp: str
    """Its image on the map; empty where it is drawn as a dot."""


@dataclass(frozen=True)
class Plot:
    """One measure's distribution."""

    measure: catalogue.Measure
    distribution: plots.Distribution


@dataclass(frozen=True)
class ExpectationRow:
    """One expectation, in words, and how it came out."""

    table: str
    what: str
    bound: str
    severity: str
    success: bool
    broken: str


def write_report(content: ReportContent) -> bytes:
    """The page, UTF-8."""
    cards, sibling_points = _cards(content)
    values = {
        "concept": content.concept,
        "examination": content.examination,
        "cards": cards,
        "hidden": len(content.photos.rows) - len(cards),
        "stamps": len(cards) <= PICTURED,
        "siblings": list(zip(content.siblings.prompts, sibling_points, strict=False)),
        "sibling_images": [
            (prompt, _data_uri(_strip(data), "jpeg"))
            for prompt, data in zip(content.siblings.prompts, content.sibling_images, strict=False)
        ],
        "plots": _plots(content),
        # That a number is there is worth a line only where it is not.
        "expected": [
            _expected(content, check) for check in content.checks if check.expectation != PRESENT or not check.success
        ],
        "set_measures": [
            (item, content.examination.measures[item.name])
            for item in catalogue.SET
            if item.name in content.examination.measures
        ],
        "glossary": (
            ("photo", catalogue.PHOTO),
            ("photo among the others", catalogue.RELATION),
            ("set", catalogue.SET),
        ),
        "size": {"map": (plots.MAP_WIDTH, plots.MAP_HEIGHT), "plot": (plots.PLOT_WIDTH, plots.PLOT_HEIGHT)},
        "letters": ascii_uppercase,
        "strangers": content.photos.scale.explain(content.concept.policy.references.min_belonging),
        "bin": plots.PLOT_WIDTH / plots.BINS,
        "stamp": STAMP,
    }
    return _templates().get_template("report.html").render(**values).encode()


def _cards(content: ReportContent) -> tuple[list[Card], list[plots.MapPoint]]:
    """The photos to show, chosen ones first in their order, and where the siblings lie on the map."""
    statuses, numbers = _statuses(content), {item.index: number for number, item in enumerate(content.choice, start=1)}
    order = {"chosen": 0, "spare": 1, "out": 2}
    assessments = content.examination.assessments
    shown = sorted(
        range(len(assessments)),
        key=lambda index: (order[statuses[index]], numbers.get(index, 0), assessments[index].name),
    )[:SHOWN]
    points, sibling_points = _map_points(content, shown)
    pictured = len(shown) <= PICTURED
    cards = [
        Card(
            assessment=assessments[index],
            status=statuses[index],
            number=numbers.get(index, 0),
            image=_data_uri(content.photos.features[index].preview, "jpeg"),
            point=point,
            stamp=_data_uri(_stamp(content.photos.features[index].preview), "jpeg") if pictured else "",
        )
        for index, point in zip(shown, points, strict=True)
    ]
    return cards, sibling_points


def _map_points(content: ReportContent, shown: Sequence[int]) -> tuple[list[plots.MapPoint], list[plots.MapPoint]]:
    """Where the shown photos and the siblings lie on the map."""
    features = content.photos.features
    vectors = np.array([features[index].embedding for index in shown]) if shown else np.zeros((0, 1))
    centroids = content.siblings.centroids
    own, others = plots.principal_plane(
        vectors, np.zeros((0, vectors.shape[1])) if centroids is None or not len(vectors) else centroids
    )
    size = STAMP + 10 if len(shown) <= PICTURED else 9
    points = plots.lay_out(np.vstack([own, others]), size)
    return points[: len(own)], points[len(own) :]


def _statuses(content: ReportContent) -> list[PhotoStatus]:
    out = {photo for check in content.checks if check.severity == "critical" for photo in check.broken_by}
    return [
        "chosen" if assessment.chosen else "out" if assessment.photo in out else "spare"
        for assessment in content.examination.assessments
    ]


def _plots(content: ReportContent) -> list[Plot]:
    """A distribution for each measure of the photos that has values."""
    statuses, made = _statuses(content), []
    for item in (*catalogue.PHOTO, *catalogue.RELATION):
        values = [float(row[item.name]) for row in content.photos.rows]
        found = plots.distribute(values, statuses, content.suites[PHOTOS].bounds(item.name))
        if found:
            made.append(Plot(item, found))
    return made


def _expected(content: ReportContent, check: Check) -> ExpectationRow:
    rule = content.suites[check.table].rules[check.rule]
    tables = catalogue.PHOTO + catalogue.RELATION if check.table == PHOTOS else catalogue.SET
    known = catalogue.labels(tables).get(rule.column)
    names = [row["name"] for row in content.photos.rows if row["photo"] in check.broken_by]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ExpectationRow(
        table="each photo" if check.table == PHOTOS else "the set",
        what="number of rows" if rule.type == ROWS else known.label if known else rule.column.replace("_", " "),
        bound=_bound(rule, known.unit if known else ""),
        severity=rule.severity,
        success=check.success,
        broken=", ".join(names[:NAMED]) + more,
    )


def _bound(rule: Rule, unit: str) -> str:
    if rule.type == PRESENT:
        return "is there"
    bounds = [
        f"{word} {limit:g}"
        for word, limit in (("at least", rule.minimum), ("at most", rule.maximum))
        if limit is not None
    ]
    return f"{' and '.join(bounds)} {unit}".strip()


def _stamp(preview: bytes) -> bytes:
    """A square of the middle of a preview for the map, twice as fine as it is drawn."""
    with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
    return _jpeg(square.resize((2 * STAMP, 2 * STAMP), Image.Resampling.LANCZOS))


def _strip(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        size = (round(image.width * STRIP / image.height), STRIP)
        return _jpeg(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def _data_uri(data: bytes, media: str) -> str:
    return f"data:image/{media};base64,{base64.b64encode(data).decode()}"


def number(value: float) -> str:
    """A number as people read it: three digits, and no point where none is needed."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    return made
