"""An order of rows without a table of them."""

import pytest
import torch

from pyrovae.data.permutation import Feistel, ShuffledRows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 100, 1023, 1024, 1025, 4097])
def test_each_row_comes_once(size):
    rows = Feistel(size, generator(size))(torch.arange(size))
    assert sorted(rows.tolist()) == list(range(size))


def test_the_order_belongs_to_the_seed():
    first, again, other = (Feistel(1000, generator(seed))(torch.arange(1000)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first == other).sum() < 10  # one row stays in its place on average


def test_the_order_is_random_over_all_rows():
    """Places and rows are uncorrelated, neighbours go apart, and each tenth of the places has rows from all over."""
    size = 10_000
    rows = Feistel(size, generator())(torch.arange(size))
    both = torch.stack([torch.arange(size), rows]).double()
    assert torch.corrcoef(both)[0, 1].abs() < 0.03
    steps = rows.diff().abs().double()
    assert 0.32 < steps.mean() / size < 0.35  # a third, for independent rows
    table = torch.histogramdd(both.T, bins=[10, 10]).hist
    assert (table - 100).square().sum() / 100 < 140  # chi-squared of 81 degrees of freedom


def test_all_orders_of_a_few_rows_come_about_equally_often():
    orders = [tuple(Feistel(3, generator(seed))(torch.arange(3)).tolist()) for seed in range(600)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 60


@pytest.mark.parametrize("size", [2**31, 2**40 + 3])
def test_rows_beyond_32_bits(size):
    order = ShuffledRows(size, 1000, generator())
    assert len(order) == -(-size // 1000)
    rows = torch.cat([order[step] for step in range(20)])
    assert len(rows.unique()) == 20_000
    assert rows.min() >= 0
    assert rows.max() < size
    assert rows.double().mean() / size == pytest.approx(0.5, abs=0.01)
    assert len(order[-1]) == size % 1000 or 1000


def test_a_part_of_an_epoch_is_that_of_the_whole():
    order = ShuffledRows(103, 10, generator())
    assert [len(rows) for rows in order] == order.sizes() == [10] * 10 + [3]
    assert torch.cat(list(order)).sort().values.tolist() == list(range(103))
    part = order[4:]
    assert len(part) == 7
    assert torch.equal(part[0], order[4])
    assert torch.equal(part[-1], order[10])
    assert part.sizes() == [10] * 6 + [3]
    with pytest.raises(IndexError):
        order[11]
