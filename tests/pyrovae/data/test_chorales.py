"""The chorales: the splits of their file, and the error for a missing or broken one."""

import json

import pytest

from pyrovae import data
from pyrovae.errors import DataError

PIECES = [[[60, 64], [], [108]], [[21]]]


def test_chorales_are_read_from_their_file(tmp_path, says):
    pieces = {"train": PIECES, "valid": PIECES[:1], "test": PIECES[1:]}
    (tmp_path / "jsb-chorales-quarter.json").write_text(json.dumps(pieces))
    found = data.load("chorales", tmp_path)
    assert [len(split["x"]) for split in found.splits.values()] == [2, 1, 1]
    assert found.test["x"].shape == (1, 1, 88)
    assert "lengths 1 to 3" in repr(found)
    assert len(data.load("chorales", tmp_path, valid=0).valid["x"]) == 0


@pytest.mark.parametrize("text", [None, "{", "{}", '{"train": [], "valid": [], "test": []}', '{"train": 3}'])
def test_a_file_of_chorales_that_is_missing_or_broken_is_a_clear_error(text, tmp_path, says):
    if text is not None:
        (tmp_path / "jsb-chorales-quarter.json").write_text(text)
    with says(DataError, "chorales could not be loaded", "--data chords", str(tmp_path)):
        data.load("chorales", tmp_path, download=False)
