"""Minibatches: rows, blocks of steps, and when steps are small."""

import pytest
import torch

from pyrovae.errors import DataError
from pyrovae.inference.training.minibatches import (
    ENOUGH_STEPS,
    FINE_STEP,
    SMALL_STEP,
    chunks,
    each_batch,
    gathered,
    is_fine,
    is_small,
    one_thread,
    row_order,
)

DATA = {"x": torch.arange(10.0), "y": torch.arange(10)}


def test_rows_are_given_or_random():
    order = torch.tensor([[1, 2], [3, 4]])
    assert row_order(DATA, 2, None, order) is order
    rows = row_order(DATA, 50, 6, None)
    assert rows.shape == (50, 6)
    assert set(rows.flatten().tolist()) == set(range(10))


def test_rows_that_are_missing_or_of_another_shape(says):
    with says(DataError, "SVI.run requires", "batch_size=B"):
        row_order(DATA, 2, None, None)
    with says(DataError, "(num_steps, B) = (3, B)", "(2, 2)"):
        row_order(DATA, 3, None, torch.zeros(2, 2, dtype=torch.int64))
    with says(DataError, "(num_steps, B)", "(3,)"):
        row_order(DATA, 3, None, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_rows_are_gathered(device):
    part = gathered(DATA, torch.tensor([3, 1]), device)
    assert part["x"].tolist() == [3.0, 1.0]
    assert part["y"].tolist() == [3, 1]


def test_the_batches_of_steps():
    rows = torch.tensor([[1, 2], [3, 4]])
    doubled = list(each_batch(DATA, rows, lambda batch: {"x": 2 * batch["x"]}))
    assert [batch["x"].tolist() for batch in doubled] == [[2.0, 4.0], [6.0, 8.0]]
    assert [batch["y"].tolist() for batch in each_batch(DATA, rows, None)] == [[1, 2], [3, 4]]
    (whole,) = each_batch(DATA, None, None)
    assert whole is DATA


@pytest.mark.parametrize(("steps", "sizes"), [(8, [4, 4]), (10, [4, 4, 1, 1]), (3, [1, 1, 1]), (0, [])])
def test_blocks_of_steps_and_then_single_ones(steps, sizes):
    order = torch.arange(2 * steps).reshape(steps, 2)
    blocks = list(chunks(order, 4))
    assert [len(block) for block in blocks] == sizes
    assert not blocks or torch.equal(torch.cat(blocks), order)


def test_small_and_many_steps():
    parameters, many = [torch.zeros(100)], torch.zeros(ENOUGH_STEPS, 8, dtype=torch.int64)
    assert is_small(parameters, many)
    assert not is_small(parameters, many[1:])
    assert not is_small([torch.zeros(SMALL_STEP // 8)], many)
    assert not is_small(parameters, many.to("meta"))


def test_small_products_on_a_cpu_are_fine():
    order, parameters = torch.zeros(1, 10, dtype=torch.int64), [torch.zeros(FINE_STEP // 10), torch.zeros(1)]
    assert is_fine(parameters, order)
    assert not is_fine(parameters[:1], order)
    assert not is_fine(parameters, order, num_particles=2)
    assert not is_fine(parameters, order.to("meta"))
    assert not is_fine([], order)


def test_one_thread_inside_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
