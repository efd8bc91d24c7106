"""Repeats: the longest stretches that consist of one period several times."""

import pytest

from pyrovae.inference.compile.rolling.repeats import Repeat, repeats


@pytest.mark.parametrize(
    ("sequence", "first"),
    [
        ([9, 1, 2, 1, 2, 1, 2, 8], Repeat(1, 7, 2)),
        ([1, 2, 3] * 4 + [1], Repeat(0, 13, 3)),
        ([5] * 6, Repeat(0, 6, 1)),
        ([0, 7, 7, 7, 1, 2, 1, 2, 1, 2, 1, 2], Repeat(4, 12, 2)),
    ],
)
def test_the_longest_stretch_comes_first(sequence, first):
    assert repeats(sequence, 3)[0] == first


def test_whole_periods_are_counted():
    assert repeats([1, 2, 3] * 4 + [1, 2], 3)[0].count == 4


def test_nothing_repeats_often_enough():
    assert repeats([1, 2, 1, 2, 3, 4], 3) == []
    assert repeats([], 3) == []
