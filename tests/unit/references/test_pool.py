from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageFilter

from seedbank.concepts import Policy
from seedbank.records import sha256
from seedbank.references.judging import Check
from seedbank.references.pool import MeasuredPool, broken_by, measure_pool
from seedbank.references.reference import Reference, Rights
from seedbank.references.suites import photo_suite
from support.photos import RIGHTS, photo

POLICY = Policy()
SUITE = photo_suite(POLICY)


def reference(name: str, image: Image.Image) -> Reference:
    rights = Rights.model_validate(RIGHTS)
    size = {"width": image.width, "height": image.height}
    photo = sha256(name.encode())
    return Reference(photo=photo, concept="wingnut", name=name, working=photo, format="JPEG", rights=rights, **size)


def measured(
    images: dict[str, Image.Image], angles: Sequence[float], faults: dict[str, list[str]] | None = None
) -> MeasuredPool:
    """A pool whose embeddings are unit vectors at these angles."""
    pool = [reference(name, image) for name, image in images.items()]
    embeddings = np.array([[np.cos(angle), np.sin(angle)] for angle in angles]).reshape(-1, 2)
    found = [(faults or {}).get(name, []) for name in images]
    return measure_pool(pool, list(images.values()), found, embeddings, POLICY)


def row(pool: MeasuredPool, name: str) -> dict[str, object]:
    return dict(next(row for row in pool.rows if row["name"] == name))


def broken(place: int, pool: MeasuredPool, column: str) -> Check:
    number = next(number for number, rule in enumerate(SUITE.rules) if rule.column == column)
    return Check(
        table="photos",
        rule=number,
        expectation="expect_column_values_to_be_between",
        column=column,
        minimum=None,
        maximum=None,
        severity=SUITE.rules[number].severity,
        success=False,
        broken_by=(pool.rows[place]["photo"],),
    )


GOOD = {f"{index}.jpg": photo(index=index) for index in range(5)}


def test_of_two_copies_the_larger_one_stays() -> None:
    original = photo(index=9, size=200)
    pool = measured({**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}, [0.0] * 7)
    assert row(pool, "small.jpg")["same_as"] == "large.jpg"
    assert float(str(row(pool, "small.jpg")["sameness"])) > POLICY.references.max_sameness
    assert float(str(row(pool, "large.jpg")["sameness"])) < POLICY.references.max_sameness


def test_a_copy_without_rights_never_pushes_out_one_with_rights() -> None:
    original = photo(index=9, size=200)
    images = {**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}
    pool = measured(images, [0.0] * 7, {"large.jpg": ["rights expired"]})
    assert row(pool, "large.jpg")["same_as"] == "small.jpg"


def test_a_blurred_copy_never_pushes_out_a_sharp_one() -> None:
    original = photo(index=9)
    blurred = original.resize((400, 400)).filter(ImageFilter.GaussianBlur(8))
    pool = measured({**GOOD, "sharp.jpg": original, "blurred.jpg": blurred}, [0.0] * 7)
    assert row(pool, "blurred.jpg")["same_as"] == "sharp.jpg"


def test_a_stranger_deviates_and_its_copies_do_not_help_it() -> None:
    stranger = photo("washer", 1)
    images = {**GOOD, **{f"odd{number}.jpg": stranger for number in range(6)}}
    pool = measured(images, [0.0, 0.05, 0.1, 0.02, 0.07] + [1.5] * 6)
    assert all(float(str(row(pool, f"odd{number}.jpg")["deviation"])) < -3.5 for number in range(6))
    assert all(float(str(row(pool, name)["deviation"])) > -3.5 for name in GOOD)


def test_too_few_photos_call_nobody_a_stranger() -> None:
    images = {"a.jpg": photo(index=0), "b.jpg": photo(index=1), "c.jpg": photo("washer", 1)}
    pool = measured(images, [0.0, 0.1, 1.5])
    assert [row(pool, name)["deviation"] for name in images] == [0, 0, 0]
    assert pool.measure_set(pool.choose(set(), 8), usable=3)["peers"] == 3


def test_an_empty_pool_measures_as_nothing() -> None:
    pool = measured({}, [])
    whole = pool.measure_set(pool.choose(set(), 8), usable=0)
    assert (whole["photos"], whole["usable_share"], whole["effective_number"]) == (0, 0, 0)


def test_every_photo_is_told_why_it_is_in_or_out() -> None:
    pool = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.21])
    checks = [broken(2, pool, "sharpness"), broken(1, pool, "noise")]
    out = broken_by(checks, "critical")
    choice = pool.choose(out, 3)
    said = {
        verdict.name: (verdict.chosen, " ".join(verdict.reasons)) for verdict in pool.verdicts(SUITE, checks, choice)
    }
    assert said["2.jpg"][0] is False
    assert said["2.jpg"][1].startswith("blurred: sharpness")
    assert "note: noisy" in said["1.jpg"][1]
    assert sum(chosen for chosen, _ in said.values()) == 3
    spare = [words for chosen, words in said.values() if not chosen and not words.startswith("blurred")]
    assert spare[0].startswith("usable, but the set is full and ")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_set_is_measured_over_the_chosen_photos(count: int) -> None:
    pool = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.6])
    whole = pool.measure_set(pool.choose(set(), count), usable=5)
    assert whole["photos"] == min(count, 5)
    assert 1 <= whole["effective_number"] <= 2.001
    assert 0 < whole["coverage"] <= 1
    assert whole["usable_share"] == 1
