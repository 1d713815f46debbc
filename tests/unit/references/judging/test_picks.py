from dataclasses import dataclass

import pytest

from seedbank.concepts import Picks
from seedbank.errors import UsageError
from seedbank.references.judging.picks import ResolvedPicks, resolve_picks


@dataclass(frozen=True)
class Photo:
    name: str
    photo: str


PHOTOS = (Photo("a.jpg", "aa11" + "0" * 60), Photo("b.jpg", "aa22" + "0" * 60), Photo("b.jpg", "bb33" + "0" * 60))


def test_photos_are_picked_by_file_name_or_by_the_first_digits_of_their_digest() -> None:
    assert resolve_picks(Picks(pin=("bb", "a.jpg"), ban=("aa22",)), PHOTOS, most=8) == ResolvedPicks(
        (PHOTOS[2].photo, PHOTOS[0].photo), (PHOTOS[1].photo,)
    )


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        (
            {"pin": ["z.jpg"]},
            r"references.pin names 'z.jpg', expected a file name or .*: a.jpg, b.jpg, b.jpg; a photo that",
        ),
        ({"ban": ["zz"]}, "references.ban names 'zz'"),
        ({"pin": ["b.jpg"]}, "which are 2 photos: aa2200000000, bb3300000000; name one by its digest"),
        ({"ban": ["aa"]}, "which are 2 photos"),
        ({"pin": ["a.jpg"], "ban": ["aa11"]}, "photo aa1100000000 is pinned and banned under two names"),
        ({"pin": ["a.jpg", "aa11"]}, "names one photo twice"),
        ({"pin": ["a.jpg", "aa22", "bb"]}, "3 photos are pinned, a set holds at most 2"),
    ],
)
def test_what_cannot_be_picked_is_used_wrongly(picks: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_picks(Picks.model_validate(picks), PHOTOS, most=2)


def test_a_pin_where_there_is_no_photo_says_so() -> None:
    with pytest.raises(UsageError, match="it has none"):
        resolve_picks(Picks(pin=("a.jpg",)), (), most=2)
