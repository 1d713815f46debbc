from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from seedbank.concepts import Policy
from seedbank.records import sha256
from seedbank.references.choosing.assessments import assess, broken_by
from seedbank.references.choosing.facility_location import Resolved
from seedbank.references.judging.features import Look
from seedbank.references.judging.measured_photos import NO_SIBLINGS, MeasuredPhotos, Siblings, measure_photos, numbers
from seedbank.references.judging.suite_runner import Check
from seedbank.references.judging.suites import BETWEEN, photo_suite
from seedbank.references.records import Reference, Rights
from support.photos import RIGHTS, photo

POLICY = Policy()
SUITE = photo_suite(POLICY)


def reference(name: str, image: Image.Image) -> Reference:
    rights = Rights.model_validate(RIGHTS)
    size = {"width": image.width, "height": image.height}
    photo = sha256(name.encode())
    return Reference(photo=photo, concept="wingnut", name=name, working=photo, format="JPEG", rights=rights, **size)


def measured(
    images: dict[str, Image.Image],
    angles: Sequence[float],
    faults: dict[str, list[str]] | None = None,
    pin: str = "",
    ban: str = "",
    siblings: Siblings = NO_SIBLINGS,
) -> MeasuredPhotos:
    """A pool whose embeddings are unit vectors at these angles."""
    picks = Resolved(*(((sha256(name.encode()),) if name else ()) for name in (pin, ban)))
    pool = [reference(name, image) for name, image in images.items()]
    vectors = [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    looks = [Look.at(image, vector) for image, vector in zip(images.values(), vectors, strict=True)]
    found = [(faults or {}).get(name, []) for name in images]
    return measure_photos(pool, looks, found, POLICY, picks=picks, siblings=siblings)


def row(pool: MeasuredPhotos, name: str) -> dict[str, object]:
    return dict(next(row for row in pool.rows if row["name"] == name))


def place_of(pool: MeasuredPhotos, name: str) -> int:
    return [row["name"] for row in pool.rows].index(name)


def value(pool: MeasuredPhotos, name: str, column: str) -> float:
    return float(str(row(pool, name)[column]))


def broken(name: str, pool: MeasuredPhotos, column: str) -> Check:
    number, rule = next(
        (n, rule) for n, rule in enumerate(SUITE.rules) if rule.type == BETWEEN and rule.column == column
    )
    return Check(
        table="photos",
        rule=number,
        expectation=rule.type,
        column=column,
        minimum=None,
        maximum=None,
        severity=rule.severity,
        success=False,
        broken_by=(str(row(pool, name)["photo"]),),
    )


GOOD = {f"{index}.jpg": photo(index=index) for index in range(5)}


def test_of_two_copies_the_larger_one_stays() -> None:
    original = photo(index=9, size=200)
    pool = measured({**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}, [0.0] * 7)
    assert row(pool, "small.jpg")["same_as"] == "large.jpg"
    assert value(pool, "small.jpg", "sameness") > POLICY.references.max_sameness
    assert value(pool, "large.jpg", "sameness") < POLICY.references.max_sameness


def test_of_two_copies_the_pinned_one_stays() -> None:
    original = photo(index=9, size=200)
    images = {**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}
    pool = measured(images, [0.0] * 7, pin="small.jpg")
    assert row(pool, "large.jpg")["same_as"] == "small.jpg"


def test_a_copy_without_rights_never_pushes_out_one_with_rights() -> None:
    original = photo(index=9, size=200)
    images = {**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}
    pool = measured(images, [0.0] * 7, {"large.jpg": ["rights expired"]})
    assert row(pool, "large.jpg")["same_as"] == "small.jpg"
    banned = measured(images, [0.0] * 7, ban="large.jpg")
    assert row(banned, "large.jpg")["same_as"] == "small.jpg"


def test_a_blurred_copy_never_pushes_out_a_sharp_one() -> None:
    original = photo(index=9)
    blurred = original.resize((400, 400)).filter(ImageFilter.GaussianBlur(8))
    pool = measured({**GOOD, "sharp.jpg": original, "blurred.jpg": blurred}, [0.0] * 7)
    assert row(pool, "blurred.jpg")["same_as"] == "sharp.jpg"


def test_a_stranger_deviates_and_its_copies_do_not_help_it() -> None:
    stranger = photo("washer", 1)
    images = {**GOOD, **{f"odd{number}.jpg": stranger for number in range(6)}}
    pool = measured(images, [0.0, 0.05, 0.1, 0.02, 0.07] + [1.5] * 6)
    assert all(value(pool, f"odd{number}.jpg", "deviation") < -3.5 for number in range(6))
    assert all(value(pool, name, "deviation") > -3.5 for name in GOOD)


def test_a_banned_photo_vouches_for_nobody() -> None:
    pool = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.5], ban="4.jpg")
    assert pool.peers.sum() == 4
    assert not pool.peers[place_of(pool, "4.jpg")]
    assert row(pool, "4.jpg")["banned"] == 1


def test_a_photo_nearer_to_a_sibling_than_to_its_own_set_has_a_negative_margin() -> None:
    siblings = Siblings(("a rod", "a bolt"), np.array([[np.cos(1.5), np.sin(1.5)], [-1.0, 0.0]]))
    pool = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.4], siblings=siblings)
    assert value(pool, "4.jpg", "sibling_margin") < -0.2
    assert row(pool, "4.jpg")["sibling"] == "a rod"
    assert all(value(pool, f"{index}.jpg", "sibling_margin") > 0 for index in range(4))


def test_without_siblings_agreement_is_not_measured() -> None:
    pool = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert all(np.isnan(value(pool, name, "sibling_margin")) for name in GOOD)
    whole = pool.measure_set(pool.choose(set(), 5), set())
    assert np.isnan(whole["sibling_margin"])
    assert "sibling_margin" not in numbers(whole)


def test_too_few_photos_call_nobody_a_stranger() -> None:
    images = {"a.jpg": photo(index=0), "b.jpg": photo(index=1), "c.jpg": photo("washer", 1)}
    pool = measured(images, [0.0, 0.1, 1.5])
    assert [row(pool, name)["deviation"] for name in images] == [0, 0, 0]
    assert pool.measure_set(pool.choose(set(), 8), set())["peers"] == 3


def test_an_empty_pool_measures_as_nothing() -> None:
    pool = measured({}, [])
    whole = pool.measure_set(pool.choose(set(), 8), set())
    assert (whole["photos"], whole["usable_share"], whole["effective_number"]) == (0, 0, 0)


def test_every_photo_is_told_why_it_is_in_or_out() -> None:
    pool = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.21])
    checks = [broken("2.jpg", pool, "sharpness"), broken("1.jpg", pool, "noise")]
    out = broken_by(checks, "critical")
    choice = pool.choose(out, 3)
    said = {
        assessment.name: (assessment.chosen, " ".join(assessment.reasons))
        for assessment in assess(pool, SUITE, checks, choice)
    }
    assert said["2.jpg"][0] is False
    assert said["2.jpg"][1].startswith("blurred: sharpness")
    assert "note: noisy" in said["1.jpg"][1]
    assert sum(chosen for chosen, _ in said.values()) == 3
    spare = [words for chosen, words in said.values() if not chosen and not words.startswith("blurred")]
    assert spare[0].startswith("usable, but not needed: the set is full with 3 photos, ")
    assert any("number 1: with it the set stands for the usable photos by" in words for _, words in said.values())
    assert any("it stands for " in words for chosen, words in said.values() if chosen)


def test_the_gains_that_are_told_add_up_to_how_well_the_set_stands_for_the_pool() -> None:
    pool = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.6])
    choice = pool.choose(set(), 3)
    places = [place for place, _ in choice]
    benefit = np.clip(pool.similarity, 0, None) * pool.quality[None, :]
    assert sum(gain for _, gain in choice) == pytest.approx(benefit[:, places].max(axis=1).sum())


def test_a_pinned_photo_is_first_also_when_it_breaks_a_rule() -> None:
    pool = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.5], pin="4.jpg")
    checks = [broken("4.jpg", pool, "sharpness")]
    out = broken_by(checks, "critical")
    choice = pool.choose(out, 2)
    place = place_of(pool, "4.jpg")
    assert choice[0][0] == place
    assessment = assess(pool, SUITE, checks, choice)[place]
    assert assessment.chosen
    assert "because the steward pinned it" in assessment.reasons[0]
    assert assessment.reasons[1].startswith("note: pinned against this: blurred")
    whole = pool.measure_set(choice, out)
    assert (whole["pinned_soft"], whole["pinned_against"]) == (1, "4.jpg")
    assert whole["deviation"] > -3.5  # the pinned one is not held against the set


def test_a_pinned_photo_without_rights_is_not_chosen_and_counts_as_a_fault() -> None:
    pool = measured(GOOD, [0.0] * 5, {"1.jpg": ["rights expired"]}, pin="1.jpg")
    out = {str(row(pool, "1.jpg")["photo"])}
    choice = pool.choose(out, 5)
    assert place_of(pool, "1.jpg") not in [place for place, _ in choice]
    whole = pool.measure_set(choice, out)
    assert (whole["pinned_faults"], whole["pinned_faulty"]) == (1, "1.jpg: rights expired")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_set_is_measured_over_the_chosen_photos(count: int) -> None:
    pool = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.6])
    whole = pool.measure_set(pool.choose(set(), count), set())
    assert whole["photos"] == min(count, 5)
    assert 1 <= whole["effective_number"] <= 2.001
    assert 0 < whole["coverage"] <= 1
    assert whole["usable_share"] == 1
    assert np.isnan(whole["ground_spread"]) == (count == 1)


@cache
def looks() -> tuple[Look, ...]:
    """Five photos, of which two are the same picture and one is far from the others."""
    pictures = [*list(GOOD.values())[:4], photo(index=3)]
    angles = (0.0, 0.2, 1.5, 0.5, 0.5)
    return tuple(
        Look.at(picture, np.array([np.cos(angle), np.sin(angle)]))
        for picture, angle in zip(pictures, angles, strict=True)
    )


@settings(max_examples=12)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_the_order_of_the_pool_does_not_matter(order: list[int], count: int) -> None:
    def chosen(places: Sequence[int]) -> list[str]:
        pool = [reference(f"{place}.jpg", GOOD["0.jpg"]) for place in places]
        found = measure_photos(pool, [looks()[place] for place in places], [[]] * 5, POLICY)
        out = {row["photo"] for row in found.rows if row["sameness"] > 0.9 or row["deviation"] < -3.5}
        return [found.rows[place]["photo"] for place, _ in found.choose(out, count)]

    assert chosen(order) == chosen(range(5))
