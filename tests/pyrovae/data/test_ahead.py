"""A thread reads the next batches while the present one is used."""

import threading
import time

import pytest
import torch

from pyrovae.data.ahead import ReadAhead

ORDER = list(torch.arange(100).split(10))


def read(rows):
    return {"x": rows.double()}


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "pyrovae reads ahead"]


@pytest.fixture
def ahead():
    """Makes readers, which are closed at the end; then no thread is left."""
    made = []

    def make(read=read, order=ORDER, block_bytes=80):
        made.append(ReadAhead(read, order, block_bytes=block_bytes))
        return made[-1]

    yield make
    for each in made:
        each.close()
    assert not threads()


def test_batches_come_in_their_order(ahead):
    reader = ahead()
    assert all(torch.equal(reader.take(rows)["x"], rows.double()) for rows in ORDER)
    assert reader.take(ORDER[0]) is None


def test_other_rows_are_left_to_the_caller(ahead):
    reader = ahead()
    assert reader.take(torch.arange(3)) is None
    assert torch.equal(reader.take(ORDER[0])["x"], ORDER[0].double())


def test_batches_are_read_ahead_and_no_more_than_fit(ahead):
    seen = []

    def slow(rows):
        seen.append(rows)
        return read(rows)

    reader = ahead(slow, block_bytes=2**26)  # one block fills what there is
    time.sleep(0.3)
    assert len(seen) <= 3  # one waits in the queue, one to be put there
    reader.take(ORDER[0])
    assert ahead(slow, order=[]).take(ORDER[0]) is None


def test_an_error_is_raised_where_its_batch_is_taken(ahead):
    def broken(rows):
        if rows[0] == 20:
            raise OSError("the disk is gone")
        return read(rows)

    reader = ahead(broken)
    assert reader.take(ORDER[0])
    assert reader.take(ORDER[1])
    with pytest.raises(OSError, match="the disk is gone"):
        reader.take(ORDER[2])
    assert reader.take(ORDER[3]) is None


def test_a_reader_that_is_closed_ends_while_it_waits(ahead):
    reader = ahead()
    time.sleep(0.05)
    reader.close()
    assert not threads()
