"""The parts world: same integers, same picture; every kind its own; the tail as long as promised."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbank.errors import UsageError
from seedbank.models.parts import examples
from seedbank.models.parts.data import BALANCED_SEED, PHOTO_SEED, TAIL_SEED, TEST_SEED
from seedbank.models.parts.examples import EVERYTHING_WRONG, GOOD, RARE, intake_folder
from seedbank.models.parts.kinds import FAMILIES
from seedbank.models.parts.shapes import around, box, cut, disc, move, turn, union
from seedbank.models.parts.world import KINDS, frequencies, generator, prompt, render
from seedbank.models.parts.zoo import zoo_render


def points(*places: complex) -> np.ndarray:
    return np.array(places, np.complex64)


def test_the_same_integers_draw_the_same_photo() -> None:
    first, second = (np.asarray(render("gear", generator(5, "gear", 3))) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_kind_or_index_draws_another_photo() -> None:
    photos = [
        np.asarray(render(kind, generator(seed, kind, index))).tobytes()
        for seed, kind, index in ((1, "gear", 0), (2, "gear", 0), (1, "gear", 1), (1, "hook", 0))
    ]
    assert len(set(photos)) == 4


@pytest.mark.parametrize("size", [16, 64, 200])
def test_a_photo_has_the_size_asked_for(size: int) -> None:
    photo = render("bolt", generator(1, "bolt", 0), size)
    assert (photo.mode, photo.size) == ("RGB", (size, size))


def test_a_large_photo_shows_the_same_scene_as_a_small_one() -> None:
    small = np.asarray(render("impeller", generator(1, "impeller", 7), 32), float)
    large = np.asarray(render("impeller", generator(1, "impeller", 7), 128).resize((32, 32)), float)
    assert np.abs(small - large).mean() < 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_seen_whole_and_covers_a_fair_share(kind: str) -> None:
    axis = np.linspace(-1.2, 1.2, 120)
    inside = FAMILIES[kind](np.random.default_rng(1))((axis[None] + 1j * axis[:, None]).astype(np.complex64)) < 0
    edge = np.concatenate([inside[:8].ravel(), inside[-8:].ravel(), inside[:, :8].ravel(), inside[:, -8:].ravel()])
    assert not edge.any()
    assert 0.03 < inside.mean() < 0.5


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(UsageError, match="no kind 'sprocketwheel'; it has washer"):
        render("sprocketwheel", np.random.default_rng(0))


def test_the_tail_falls_exponentially_from_thousands_to_a_handful() -> None:
    counts = list(frequencies().values())
    assert len(counts) == len(KINDS) >= 20
    assert (counts[0], counts[-1]) == (6000, 6)
    assert all(1.2 < more / fewer < 1.8 for more, fewer in pairwise(counts))


def test_a_prompt_names_its_kind() -> None:
    assert prompt("tee") == "a photo of a tee"


def test_training_test_and_photo_seeds_are_apart() -> None:
    assert len({TAIL_SEED, BALANCED_SEED, TEST_SEED, PHOTO_SEED}) == 4


def test_zoo_kinds_repeat_from_their_integers_and_vary() -> None:
    again, other = zoo_render(3, 0), zoo_render(3, 1)
    assert zoo_render(3, 0).tobytes() == again.tobytes() != other.tobytes()


def test_shapes_are_negative_inside_and_measure_distance_outside() -> None:
    assert disc(0.5)(points(0, 1)) == pytest.approx([-0.5, 0.5])
    assert box(0.5, 0.25)(points(0, 0.8, 0.5j)) == pytest.approx([-0.25, 0.3, 0.25])


def test_shapes_compose() -> None:
    holed = cut(disc(1), move(disc(0.2), 0.5))
    assert holed(points(0.5))[0] > 0 > holed(points(-0.5))[0]
    pair = union(move(disc(0.1), 0.5), move(disc(0.1), -0.5))
    assert np.all(pair(points(0.5, -0.5)) < 0)
    assert turn(box(0.5, 0.1), np.pi / 2)(points(0.4j))[0] < 0
    assert np.all(around(move(disc(0.1), 0.6), 4)(points(0.6, 0.6j, -0.6, -0.6j)) < 0)


def test_example_photos_say_what_is_wrong_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "photo", lambda kind, index: render(kind, generator(PHOTO_SEED, kind, index), 80))
    folder = intake_folder(EVERYTHING_WRONG[0])
    assert folder == intake_folder(EVERYTHING_WRONG[0])
    good = [name for name in folder if name.startswith("photo-") and not name.endswith(".yaml")]
    assert len(good) == GOOD >= 8
    assert folder["duplicate-of-photo-03.jpg"] == folder["photo-03.jpg"]
    assert {"blurred-01.jpg", "tiny-01.jpg", "wrong-part-01.jpg", "corrupt-01.jpg", "no-rights-01.jpg"} < set(folder)
    assert "no-rights-01.jpg.yaml" not in folder


def test_a_corrupt_example_cannot_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "photo", lambda kind, index: render(kind, generator(PHOTO_SEED, kind, index), 80))
    with pytest.raises(OSError, match="truncated"):
        Image.open(BytesIO(intake_folder(EVERYTHING_WRONG[0])["corrupt-01.jpg"])).load()


def test_examples_cover_the_tail() -> None:
    assert set(RARE) == set(KINDS[-len(RARE) :])
    assert len(RARE) >= 8


def test_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    import torch

    from seedbank.models.parts.loop import Budget, averaged, fit

    def trained(work: Path, *lengths: int) -> torch.Tensor:
        for steps in lengths:
            model = torch.nn.Linear(3, 1, bias=False)
            torch.nn.init.ones_(model.weight)
            budget = Budget(steps=steps, batch=4, rate=0.1, decay=0.5 if steps == 20 else 0.01)

            def loss(generator: torch.Generator, model: torch.nn.Module = model) -> torch.Tensor:
                return (model(torch.randn(4, 3, generator=generator)) - 2).square().mean()

            fit("line", model, loss, budget, work)
        return averaged("line", torch.nn.Linear(3, 1, bias=False), work).model.weight

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    whole.mkdir()
    pieces.mkdir()
    assert torch.equal(trained(whole, 20), trained(pieces, 10, 20))
