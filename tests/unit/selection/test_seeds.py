import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from seedbank.errors import VerificationError
from seedbank.records import sha256
from seedbank.selection.seeds import Lineage, Seed

lineages = st.builds(
    Lineage,
    kind=st.sampled_from(["drawn", "optimised", "neighbour", "mix", "inverted"]),
    generator=st.text(max_size=20),
    integer=st.integers(0, 2**64 - 1).map(str),
    parents=st.lists(st.binary(max_size=4).map(sha256), max_size=3).map(tuple),
    note=st.text(max_size=20),
)
latents = arrays.arrays(
    np.float32, st.tuples(*[st.integers(1, 4)] * 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)
seeds = st.builds(Seed, latents, lineages)
SEED = Seed(np.ones((1, 2, 3), np.float32), Lineage(kind="drawn", integer="7"))


@given(seeds)
def test_a_seed_comes_back_with_its_history(seed: Seed) -> None:
    data = seed.to_safetensors()
    back = Seed.from_safetensors(data)
    assert back == seed
    assert back.lineage == seed.lineage
    assert back.latents.tobytes() == seed.latents.tobytes()
    assert back.to_safetensors() == data


@given(seeds, seeds)
def test_equal_digests_mean_equal_noise_with_equal_history(one: Seed, other: Seed) -> None:
    same = (
        one.latents.shape == other.latents.shape
        and one.latents.tobytes() == other.latents.tobytes()
        and one.lineage == other.lineage
    )
    assert (one.digest == other.digest) == same == (one == other)


def test_noise_with_another_history_is_another_seed() -> None:
    assert Seed(SEED.latents, Lineage(kind="drawn", integer="8")) != SEED
    assert len({SEED, Seed(SEED.latents.copy(), SEED.lineage)}) == 1


@given(data=st.data())
def test_a_damaged_file_is_refused_or_another_seed(data: st.DataObject) -> None:
    content = SEED.to_safetensors()
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    try:
        found = Seed.from_safetensors(content[:place] + bytes([other]) + content[place + 1 :])
    except VerificationError:
        return
    assert found != SEED or found.to_safetensors() == content


@given(st.binary(max_size=64))
def test_anything_else_is_refused(junk: bytes) -> None:
    with pytest.raises(VerificationError, match="expected a seed in safetensors"):
        Seed.from_safetensors(junk)


def test_other_tensors_are_refused() -> None:
    with pytest.raises(VerificationError, match=r"expected one tensor 'latents' in a seed file, got \['weights'\]"):
        Seed.from_safetensors(save({"weights": np.ones(3, np.float32)}, metadata={"lineage": "{}"}))


def test_a_seed_without_its_history_is_refused() -> None:
    with pytest.raises(VerificationError, match="expected a Lineage record"):
        Seed.from_safetensors(save({"latents": np.ones((1, 2, 3), np.float32)}))


@pytest.mark.parametrize(
    "latents",
    [
        np.ones((1, 2, 3), np.float64),
        np.ones((1, 2, 3), np.float16),
        np.ones((2, 3), np.float32),
        np.full((1, 2, 3), np.nan, np.float32),
    ],
)
def test_only_finite_float32_of_three_dimensions_is_noise(latents: np.ndarray) -> None:
    with pytest.raises(VerificationError, match="do not cast seeds"):
        Seed(latents, SEED.lineage)


def test_noise_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SEED.latents[0, 0, 0] = 2


@pytest.mark.parametrize("integer", ["-1", "1.5", "0x1", " 1"])
def test_integers_are_decimal_strings(integer: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Lineage(kind="drawn", integer=integer)


def test_a_lineage_is_readable_in_the_file_without_our_code() -> None:
    content = SEED.to_safetensors()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["lineage"])["integer"] == "7"
