"""Suites: what Great Expectations expects of the table of photos and of the table of the set, built from a concept's policy.

A rule is one expectation in readable form. A *critical* rule puts a photo out, or refuses the set; a *warning* is shown and does neither.
This module needs no Great Expectations; :mod:`seedbank.references.judging` turns the rules into suites and runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from seedbank.concepts import Policy

PHOTOS = "photos"
"""The table with one row for each photo of the pool."""
SET = "reference_set"
"""The table with one row: the chosen set."""

FEWEST_PEERS = 4
"""With fewer photos to compare with, nobody can tell which one is the stranger."""


@dataclass(frozen=True)
class Rule:
    """A column must lie between two bounds, both allowed, and must not be empty.

    Attributes:
        column: a measure.
        minimum: lowest allowed value, None for no bound.
        maximum: highest allowed value, None for no bound.
        severity: what breaking it means.
        says: what to tell a person, with ``{value}``, ``{limit}`` and the row's other columns as ``{column}``.
    """

    column: str
    minimum: float | None
    maximum: float | None
    severity: Literal["critical", "warning"]
    says: str

    def explain(self, row: Mapping[str, object]) -> str:
        """The words for a row that breaks this rule."""
        limit = self.minimum if self.minimum is not None else self.maximum
        return self.says.format_map({**row, "value": row[self.column], "limit": limit})

    def shortfall(self, value: float) -> float:
        """By what share of its bound ``value`` breaks this rule; 0 when it holds. Only for ranking photos, never for judging them."""
        if self.minimum is not None and value < self.minimum:
            return (self.minimum - value) / max(abs(self.minimum), 1e-9)
        if self.maximum is not None and value > self.maximum:
            return (value - self.maximum) / max(abs(self.maximum), 1e-9)
        return 0.0


@dataclass(frozen=True)
class Suite:
    """The rules of one table, and how many rows it must have: an empty table breaks no other rule."""

    table: str
    min_rows: int
    rules: tuple[Rule, ...]


def quality_rules(policy: Policy) -> tuple[Rule, ...]:
    """What a photo must measure by itself."""
    asked = policy.quality
    return (
        Rule(
            "min_side_px",
            asked.min_side_px,
            None,
            "critical",
            "too small: {value:.0f} pixels on the shorter side, at least {limit:.0f} are needed; use the original file",
        ),
        Rule(
            "sharpness",
            asked.min_sharpness,
            None,
            "critical",
            "blurred: sharpness {value:.1f}, at least {limit:.0f} is needed; photograph it again in focus",
        ),
        Rule(
            "contrast",
            asked.min_contrast,
            None,
            "critical",
            "flat: contrast {value:.3f}, at least {limit:.3f} is needed; photograph it again on another background",
        ),
        Rule(
            "aspect",
            None,
            asked.max_aspect,
            "warning",
            "long: {value:.1f} times as long as wide; only the middle square is looked at",
        ),
        Rule(
            "clipped", None, asked.max_clipped, "warning", "clipped: {value:.0%} of the pixels are pure black or white"
        ),
        Rule(
            "noise", None, asked.max_noise, "warning", "noisy: {value:.1f} grey levels of noise, more than {limit:.0f}"
        ),
    )


def photo_suite(policy: Policy) -> Suite:
    """Rights, quality, and how each photo relates to the rest of its pool."""
    asked = policy.references
    return Suite(
        PHOTOS,
        1,
        (
            Rule("rights_faults", None, 0, "critical", "{rights}"),
            *quality_rules(policy),
            Rule(
                "sameness",
                None,
                asked.max_sameness,
                "critical",
                "near duplicate of {same_as}: {value:.0%} the same picture; a copy teaches nothing new",
            ),
            Rule(
                "deviation",
                asked.min_deviation,
                None,
                "critical",
                "looks like something else: {value:.1f} deviations from how alike the photos of this pool are, at least {limit:.1f}; "
                "check that it shows the concept",
            ),
        ),
    )


def set_suite(policy: Policy) -> Suite:
    """What the chosen photos must be together."""
    asked = policy.references
    return Suite(
        SET,
        1,
        (
            Rule(
                "peers",
                FEWEST_PEERS,
                None,
                "warning",
                "only {value:.0f} photos to compare with each other, {limit:.0f} are needed to tell which one does not belong",
            ),
            Rule(
                "photos",
                asked.min_photos,
                None,
                "critical",
                "{value:.0f} usable photos, at least {limit:.0f} are needed",
            ),
            Rule(
                "photos",
                None,
                asked.max_photos,
                "critical",
                "{value:.0f} photos chosen, at most {limit:.0f} are wanted",
            ),
            Rule("rights_faults", None, 0, "critical", "{value:.0f} faults in the rights of chosen photos"),
            Rule(
                "sameness", None, asked.max_sameness, "critical", "two chosen photos are {value:.0%} the same picture"
            ),
            Rule(
                "deviation",
                asked.min_deviation,
                None,
                "critical",
                "a chosen photo looks like something else ({value:.1f} deviations)",
            ),
            Rule(
                "effective_number",
                asked.min_effective_number,
                None,
                "warning",
                "too alike: they count as {value:.2f} different photos, {limit:.2f} are wanted; vary angle, light and background",
            ),
            Rule(
                "usable_share",
                asked.min_usable_share,
                None,
                "warning",
                "only {value:.0%} of the pool is usable; look at the reasons and collect better photos",
            ),
        ),
    )
