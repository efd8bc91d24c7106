"""Ranks among draws: tests of uniformity at their level, and the shares in regions."""

import pytest
import torch

from pyrovae.inference.diagnostics.ranks import central_share, nearest_share, ranks_among, smooth_p_value


def test_ranks_count_the_draws_below_and_break_ties_at_random():
    draws = torch.tensor([1.0, 2.0, 2.0, 3.0])[:, None].expand(4, 3000)
    assert ranks_among(draws, torch.full((3000,), 2.5)).unique().tolist() == [3]
    tied = ranks_among(draws, torch.full((3000,), 2.0)).bincount(minlength=5)
    assert tied[[0, 4]].sum() == 0
    torch.testing.assert_close(tied[1:4] / 3000, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


@pytest.mark.parametrize(("size", "count"), [(100, 19), (500, 99), (500, 1)])
def test_the_smooth_test_has_its_level(size, count):
    found = torch.tensor([smooth_p_value(torch.randint(0, count + 1, (size,)), count) for _ in range(1500)])
    for level in (0.5, 0.05, 0.01):
        assert (found < level).double().mean() == pytest.approx(level, abs=4 * (level / 1500) ** 0.5)


def test_even_ranks_have_the_highest_p_value_and_leaning_ones_none():
    even = torch.arange(20).repeat(10)
    assert smooth_p_value(even, 19) == pytest.approx(1.0)
    assert smooth_p_value(even * 9 // 10, 19) < 0.01
    assert smooth_p_value((even - 9) * 7 // 10 + 9, 19) < 1e-6


def test_shares_of_even_ranks_are_their_level():
    for count in (19, 99):
        even = torch.arange(count + 1)[:, None]
        for level in (0.5, 0.9):
            assert central_share(even, count, level).tolist() == pytest.approx([level])
            assert nearest_share(even, count, level).tolist() == pytest.approx([level])
        assert nearest_share(even, count, 0.0) == 0
