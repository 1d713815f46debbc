"""The report of a reference set: one HTML page that needs nothing else, for the steward and for whoever asks why these photos.

It shows what was found and judges nothing. The same findings always give the same bytes.
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
from seedbank.references.judging.measured_photos import Choice, MeasuredPhotos, Siblings
from seedbank.references.judging.suite_runner import Check
from seedbank.references.judging.suites import PHOTOS, PRESENT, ROWS, Rule, Suite
from seedbank.references.measures import catalogue
from seedbank.references.records import Assessment, Examination
from seedbank.references.report import plots

SHOWN = 200
"""Photos on the contact sheet and on the map; of more, the chosen ones and the first others are shown, and the number is told."""
PICTURED = 60
"""Photos on the map up to which they are drawn as pictures; more would hide each other and are dots."""
STAMP = 40
"""Side in pixels of a picture on the map."""
STRIP = 72
"""Height in pixels of what the model draws for a sibling."""
NAMED = 6
"""Photos that are named in a row of the table of expectations."""

Kind = Literal["chosen", "spare", "out"]


@dataclass(frozen=True)
class Findings:
    """Everything a report tells.

    Attributes:
        concept: whose photos they are.
        examination: what came of the pool.
        pool: the measured pool.
        choice: the chosen photos.
        siblings: what the photos were compared with.
        suites: the expectations, by table.
        checks: how each of them came out.
        sibling_pictures: what the model draws for each sibling prompt, as image files.
    """

    concept: Concept
    examination: Examination
    pool: MeasuredPhotos
    choice: Choice
    siblings: Siblings
    suites: Mapping[str, Suite]
    checks: Sequence[Check]
    sibling_pictures: Sequence[bytes] = ()


@dataclass(frozen=True)
class Card:
    """One photo of the contact sheet."""

    assessment: Assessment
    kind: Kind
    number: int
    picture: str
    spot: plots.Spot
    stamp: str


@dataclass(frozen=True)
class Plot:
    """One measure's distribution."""

    measure: catalogue.Measure
    distribution: plots.Distribution


@dataclass(frozen=True)
class Expected:
    """One expectation, in words, and how it came out."""

    table: str
    what: str
    bound: str
    severity: str
    success: bool
    broken: str


def write_report(findings: Findings) -> bytes:
    """The page, UTF-8."""
    cards, spots = _cards(findings)
    values = {
        "concept": findings.concept,
        "examination": findings.examination,
        "cards": cards,
        "hidden": len(findings.pool.rows) - len(cards),
        "stamps": len(cards) <= PICTURED,
        "siblings": list(zip(findings.siblings.prompts, spots, strict=False)),
        "sibling_pictures": [
            (prompt, _data_uri(_strip(data), "jpeg"))
            for prompt, data in zip(findings.siblings.prompts, findings.sibling_pictures, strict=False)
        ],
        "plots": _plots(findings),
        # That a number is there is worth a line only where it is not.
        "expected": [
            _expected(findings, check) for check in findings.checks if check.expectation != PRESENT or not check.success
        ],
        "set_measures": [
            (item, findings.examination.measures[item.name])
            for item in catalogue.SET
            if item.name in findings.examination.measures
        ],
        "glossary": (("photo", catalogue.PHOTO), ("photo in its pool", catalogue.RELATION), ("set", catalogue.SET)),
        "size": {"map": (plots.MAP_WIDTH, plots.MAP_HEIGHT), "plot": (plots.PLOT_WIDTH, plots.PLOT_HEIGHT)},
        "letters": ascii_uppercase,
        "bin": plots.PLOT_WIDTH / plots.BINS,
        "stamp": STAMP,
    }
    return _templates().get_template("report.html").render(**values).encode()


def _cards(findings: Findings) -> tuple[list[Card], list[plots.Spot]]:
    """The photos to show, chosen ones first in their order, and the spots of the siblings."""
    kinds, rank = _kinds(findings), {place: number for number, (place, _) in enumerate(findings.choice, start=1)}
    order = {"chosen": 0, "spare": 1, "out": 2}
    assessments = findings.examination.assessments
    places = sorted(
        range(len(assessments)), key=lambda place: (order[kinds[place]], rank.get(place, 0), assessments[place].name)
    )[:SHOWN]
    spots, sibling_spots = _spots(findings, places)
    pictured = len(places) <= PICTURED
    cards = [
        Card(
            assessment=assessments[place],
            kind=kinds[place],
            number=rank.get(place, 0),
            picture=_data_uri(findings.pool.looks[place].preview, "jpeg"),
            spot=spot,
            stamp=_data_uri(_stamp(findings.pool.looks[place].preview), "jpeg") if pictured else "",
        )
        for place, spot in zip(places, spots, strict=True)
    ]
    return cards, sibling_spots


def _spots(findings: Findings, places: Sequence[int]) -> tuple[list[plots.Spot], list[plots.Spot]]:
    looks = findings.pool.looks
    vectors = np.array([looks[place].embedding for place in places]) if places else np.zeros((0, 1))
    centroids = findings.siblings.centroids
    own, others = plots.principal_plane(
        vectors, np.zeros((0, vectors.shape[1])) if centroids is None or not len(vectors) else centroids
    )
    size = STAMP + 10 if len(places) <= PICTURED else 9
    spots = plots.lay_out(np.vstack([own, others]), size)
    return spots[: len(own)], spots[len(own) :]


def _kinds(findings: Findings) -> list[Kind]:
    out = {photo for check in findings.checks if check.severity == "critical" for photo in check.broken_by}
    return [
        "chosen" if assessment.chosen else "out" if assessment.photo in out else "spare"
        for assessment in findings.examination.assessments
    ]


def _plots(findings: Findings) -> list[Plot]:
    """A distribution for each measure of the photos that has values."""
    kinds, made = _kinds(findings), []
    for item in (*catalogue.PHOTO, *catalogue.RELATION):
        values = [float(row[item.name]) for row in findings.pool.rows]
        found = plots.distribute(values, kinds, findings.suites[PHOTOS].bounds(item.name))
        if found:
            made.append(Plot(item, found))
    return made


def _expected(findings: Findings, check: Check) -> Expected:
    rule = findings.suites[check.table].rules[check.rule]
    tables = catalogue.PHOTO + catalogue.RELATION if check.table == PHOTOS else catalogue.SET
    known = catalogue.labels(tables).get(rule.column)
    names = [row["name"] for row in findings.pool.rows if row["photo"] in check.broken_by]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return Expected(
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


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


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
