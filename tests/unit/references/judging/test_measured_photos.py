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
from seedbank.references.choosing.choice import choose_photos, measure_set
from seedbank.references.judging.features import PhotoFeatures
from seedbank.references.judging.measured_photos import MeasuredPhotos, measure_photos, numbers
from seedbank.references.judging.picks import ResolvedPicks
from seedbank.references.judging.siblings import NO_SIBLINGS, Siblings
from seedbank.references.judging.suites import BETWEEN, photo_suite
from seedbank.references.records import Check
from support.measured_photos import OTHERS, features_at, measured_photos, reference
from support.photos import photo

POLICY = Policy()
SUITE = photo_suite(POLICY)


def measured(
    images: dict[str, Image.Image],
    angles: Sequence[float],
    faults: dict[str, list[str]] | None = None,
    pin: str = "",
    ban: str = "",
    siblings: Siblings = NO_SIBLINGS,
) -> MeasuredPhotos:
    """Photos whose embeddings are unit vectors at these angles."""
    pinned, banned = ((sha256(name.encode()),) if name else () for name in (pin, ban))
    return measured_photos(images, angles, faults=faults, picks=ResolvedPicks(pinned, banned), siblings=siblings)


def row(photos: MeasuredPhotos, name: str) -> dict[str, object]:
    return dict(next(row for row in photos.rows if row["name"] == name))


def index_of(photos: MeasuredPhotos, name: str) -> int:
    return [row["name"] for row in photos.rows].index(name)


def value(photos: MeasuredPhotos, name: str, column: str) -> float:
    return float(str(row(photos, name)[column]))


def broken(name: str, photos: MeasuredPhotos, column: str) -> Check:
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
        broken_by=(str(row(photos, name)["photo"]),),
    )


GOOD = {f"{index}.jpg": photo(index=index) for index in range(5)}


def test_of_two_copies_the_larger_one_stays() -> None:
    original = photo(index=9, size=200)
    photos = measured({**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}, [0.0] * 7)
    assert row(photos, "small.jpg")["same_as"] == "large.jpg"
    assert value(photos, "small.jpg", "sameness") > POLICY.references.max_sameness
    assert value(photos, "large.jpg", "sameness") < POLICY.references.max_sameness


def test_of_two_copies_the_pinned_one_stays() -> None:
    original = photo(index=9, size=200)
    images = {**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}
    photos = measured(images, [0.0] * 7, pin="small.jpg")
    assert row(photos, "large.jpg")["same_as"] == "small.jpg"


def test_a_copy_without_rights_never_pushes_out_one_with_rights() -> None:
    original = photo(index=9, size=200)
    images = {**GOOD, "small.jpg": original.resize((140, 140)), "large.jpg": original}
    photos = measured(images, [0.0] * 7, {"large.jpg": ["rights expired"]})
    assert row(photos, "large.jpg")["same_as"] == "small.jpg"
    banned = measured(images, [0.0] * 7, ban="large.jpg")
    assert row(banned, "large.jpg")["same_as"] == "small.jpg"


def test_a_blurred_copy_never_pushes_out_a_sharp_one() -> None:
    original = photo(index=9)
    blurred = original.resize((400, 400)).filter(ImageFilter.GaussianBlur(8))
    photos = measured({**GOOD, "sharp.jpg": original, "blurred.jpg": blurred}, [0.0] * 7)
    assert row(photos, "blurred.jpg")["same_as"] == "sharp.jpg"


def test_an_outlier_deviates_and_its_copies_do_not_help_it() -> None:
    outlier = photo("washer", 1)
    images = {**GOOD, **{f"odd{number}.jpg": outlier for number in range(6)}}
    photos = measured(images, [0.0, 0.05, 0.1, 0.02, 0.07] + [1.5] * 6)
    assert all(value(photos, f"odd{number}.jpg", "belonging") < 0.5 for number in range(6))
    assert all(value(photos, name, "belonging") > 0.5 for name in GOOD)


def test_a_banned_photo_vouches_for_nobody() -> None:
    photos = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.5], ban="4.jpg")
    assert photos.peers.sum() == 4
    assert not photos.peers[index_of(photos, "4.jpg")]
    assert row(photos, "4.jpg")["banned"] == 1


def test_a_photo_nearer_to_a_sibling_than_to_its_own_set_has_a_negative_margin() -> None:
    siblings = Siblings(prompts=("a rod", "a bolt"), centroids=np.array([[np.cos(1.5), np.sin(1.5)], [-1.0, 0.0]]))
    photos = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.4], siblings=siblings)
    assert value(photos, "4.jpg", "sibling_margin") < -0.2
    assert row(photos, "4.jpg")["sibling"] == "a rod"
    assert all(value(photos, f"{index}.jpg", "sibling_margin") > 0 for index in range(4))


def test_without_siblings_agreement_is_not_measured() -> None:
    photos = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert all(np.isnan(value(photos, name, "sibling_margin")) for name in GOOD)
    whole = measure_set(photos, choose_photos(photos, set(), 5), set())
    assert np.isnan(whole["sibling_margin"])
    assert "sibling_margin" not in numbers(whole)


def test_too_few_photos_call_nobody_an_outlier() -> None:
    images = {"a.jpg": photo(index=0), "b.jpg": photo(index=1), "c.jpg": photo("washer", 1)}
    photos = measured(images, [0.0, 0.1, 1.5])
    assert all(np.isnan(value(photos, name, "belonging")) for name in images)
    assert photos.scale.not_measured == "3 photos can be compared with each other, at least 4 are needed"
    assert measure_set(photos, choose_photos(photos, set(), 8), set())["peers"] == 3


def test_no_photos_measure_as_nothing() -> None:
    photos = measured({}, [])
    whole = measure_set(photos, choose_photos(photos, set(), 8), set())
    assert (whole["photos"], whole["usable_share"], whole["effective_number"]) == (0, 0, 0)


def test_every_photo_says_why_it_is_in_or_out() -> None:
    photos = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.21])
    checks = [broken("2.jpg", photos, "sharpness"), broken("1.jpg", photos, "edge_marks")]
    out = broken_by(checks, "critical")
    choice = choose_photos(photos, out, 3)
    said = {
        assessment.name: (assessment.chosen, " ".join(assessment.lines))
        for assessment in assess(photos, SUITE, checks, choice)
    }
    assert said["2.jpg"][0] is False
    assert said["2.jpg"][1].startswith("blurred: sharpness")
    assert "note: marked" in said["1.jpg"][1]
    assert sum(chosen for chosen, _ in said.values()) == 3
    spare = [words for chosen, words in said.values() if not chosen and not words.startswith("blurred")]
    assert spare[0].startswith("usable, but not needed: the set is full with 3 photos, ")
    assert any("number 1: with it the set stands for the usable photos by" in words for _, words in said.values())
    assert any("it stands for " in words for chosen, words in said.values() if chosen)


def test_the_gains_that_are_named_add_up_to_how_well_the_set_stands_for_all_photos() -> None:
    photos = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.6])
    choice = choose_photos(photos, set(), 3)
    chosen = [item.index for item in choice]
    benefit = np.clip(photos.similarity, 0, None) * photos.quality[None, :]
    assert sum(item.gain for item in choice) == pytest.approx(benefit[:, chosen].max(axis=1).sum())


def test_a_pinned_photo_is_first_also_when_it_breaks_a_rule() -> None:
    photos = measured(GOOD, [0.0, 0.1, 0.2, 0.3, 1.5], pin="4.jpg")
    checks = [broken("4.jpg", photos, "sharpness")]
    out = broken_by(checks, "critical")
    choice = choose_photos(photos, out, 2)
    index = index_of(photos, "4.jpg")
    assert choice[0].index == index
    assessment = assess(photos, SUITE, checks, choice)[index]
    assert assessment.chosen
    assert "because the steward pinned it" in assessment.reasons[0]
    assert assessment.notes[0].startswith("pinned against this: blurred")
    whole = measure_set(photos, choice, out)
    assert (whole["pinned_soft"], whole["pinned_against"]) == (1, "4.jpg")
    assert whole["belonging"] > 0.5  # the pinned one is not held against the set


def test_a_pinned_photo_without_rights_is_not_chosen_and_counts_as_a_fault() -> None:
    photos = measured(GOOD, [0.0] * 5, {"1.jpg": ["rights expired"]}, pin="1.jpg")
    out = {str(row(photos, "1.jpg")["photo"])}
    choice = choose_photos(photos, out, 5)
    assert index_of(photos, "1.jpg") not in [item.index for item in choice]
    whole = measure_set(photos, choice, out)
    assert (whole["pinned_faults"], whole["pinned_faulty"]) == (1, "1.jpg: rights expired")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_set_is_measured_over_the_chosen_photos(count: int) -> None:
    photos = measured(GOOD, [0.0, 0.4, 0.8, 1.2, 1.6])
    whole = measure_set(photos, choose_photos(photos, set(), count), set())
    assert whole["photos"] == min(count, 5)
    assert 1 <= whole["effective_number"] <= 2.001
    assert 0 < whole["coverage"] <= 1
    assert whole["usable_share"] == 1
    assert np.isnan(whole["ground_spread"]) == (count == 1)


@cache
def features() -> tuple[PhotoFeatures, ...]:
    """Of five photos, of which two are the same image and one is far from the others."""
    images = [*list(GOOD.values())[:4], photo(index=3)]
    return tuple(features_at(image, angle) for image, angle in zip(images, (0.0, 0.2, 1.5, 0.5, 0.5), strict=True))


@settings(max_examples=12)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_the_order_of_the_photos_does_not_matter(order: list[int], count: int) -> None:
    def chosen(numbers: Sequence[int]) -> list[str]:
        given = [reference(f"{number}.jpg", GOOD["0.jpg"]) for number in numbers]
        found = measure_photos(given, [features()[number] for number in numbers], [[]] * 5, POLICY, others=OTHERS)
        out = {row["photo"] for row in found.rows if row["sameness"] > 0.9 or row["belonging"] < 0.5}
        return [found.rows[item.index]["photo"] for item in choose_photos(found, out, count)]

    assert chosen(order) == chosen(range(5))
