import numpy as np
from PIL import Image

from seedbank.trials.contact_sheet import COLUMNS, TILE, SheetRow, Tile, contact_sheet, fit, to_png
from seedbank.trials.images import decode

RED = Image.new("RGB", (64, 64), (200, 30, 30))
GREEN_FRAME = (47, 133, 90)


def share(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels have exactly this colour."""
    return int((np.asarray(sheet) == np.asarray(colour)).all(axis=2).sum())


def test_every_picture_is_there_at_full_size() -> None:
    sheet = contact_sheet("wingnut", [SheetRow("Plain", [Tile(RED)] * 3), SheetRow("Optimised", [Tile(RED)])])
    assert share(sheet, (200, 30, 30)) == 4 * TILE * TILE


def test_a_long_row_goes_on_below() -> None:
    one = contact_sheet("wingnut", [SheetRow("Plain", [Tile(RED)] * COLUMNS)])
    two = contact_sheet("wingnut", [SheetRow("Plain", [Tile(RED)] * (COLUMNS + 1))])
    assert one.width == two.width
    assert two.height > one.height + TILE
    assert share(two, (200, 30, 30)) == (COLUMNS + 1) * TILE * TILE


def test_good_pictures_are_framed() -> None:
    plain = contact_sheet("wingnut", [SheetRow("SheetRow", [Tile(RED)])])
    good = contact_sheet("wingnut", [SheetRow("SheetRow", [Tile(RED, good=True)])])
    assert share(plain, GREEN_FRAME) == 0
    assert share(good, GREEN_FRAME) > 4 * TILE


def test_notes_and_captions_make_room_for_themselves() -> None:
    rows = [SheetRow("SheetRow", [Tile(RED, ("one", "two"))])]
    plain = contact_sheet("wingnut", rows)
    noted = contact_sheet("wingnut", rows, subtitle="a photo of a wingnut", notes=["word " * 200, "short"])
    assert noted.width == plain.width
    assert noted.height > plain.height + 5 * 17


def test_a_sheet_without_pictures_is_its_title() -> None:
    assert contact_sheet("wingnut", [SheetRow("Plain", [])]).height < TILE


def test_pictures_keep_their_shape() -> None:
    assert fit(Image.new("RGB", (300, 150)), 192).size == (192, 96)
    assert fit(Image.new("RGB", (1, 1000)), 192).size == (1, 192)
    assert fit(Image.new("L", (64, 64)), 192).mode == "RGB"


def test_equal_sheets_are_equal_files() -> None:
    sheet = contact_sheet("wingnut", [SheetRow("Plain", [Tile(RED, ("guard 0.5",))])])
    assert to_png(sheet) == to_png(contact_sheet("wingnut", [SheetRow("Plain", [Tile(RED, ("guard 0.5",))])]))
    assert decode(to_png(sheet)).size == sheet.size
