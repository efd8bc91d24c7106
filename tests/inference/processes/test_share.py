"""Which rows a process takes."""

import pytest
import torch

from pyrovae.inference.processes.share import Share


@pytest.mark.parametrize("total", [1, 2, 5, 8, 128])
@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_the_shares_are_the_batch_in_its_order(total, processes):
    rows = torch.arange(total)
    shares = [Share.of(total, rank, processes) for rank in range(processes)]
    assert torch.equal(torch.cat([share.rows(rows) for share in shares if share.counts]), rows)
    sizes = [share.size for share in shares if share.counts]
    assert max(sizes) - min(sizes) <= 1
    assert sum(share.fraction for share in shares) == pytest.approx(1.0)


def test_a_process_without_rows_runs_the_first_one_which_counts_nothing():
    share = Share.of(1, 1, 2)
    assert share == Share(0, 1, 1, counts=False)
    assert share.fraction == 0
    assert Share.of(1, 0, 2).is_whole


def test_rows_of_any_dimension():
    assert torch.equal(Share(1, 2, 4).rows(torch.arange(8).reshape(2, 4), 1), torch.tensor([[1, 2], [5, 6]]))
