"""The backward network: h_t depends on x_t ... x_T alone, and on no padding."""

import pytest
import torch
from torch import nn

from pyrovae.networks.recurrent import BackwardRNN, reverse

WITHIN = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]


def test_reversed_sequences_keep_their_padding():
    x = torch.arange(15.0).reshape(3, 5, 1)
    assert reverse(x, WITHIN).squeeze(-1).tolist() == [[4, 3, 2, 1, 0], [6, 5, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert torch.equal(reverse(reverse(x, WITHIN), WITHIN), x)


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
def test_a_state_knows_its_step_and_those_after_it(kind):
    network = BackwardRNN(2, 3, kind)
    x = torch.randn(3, 5, 2)
    h = network(x, WITHIN)
    assert h.shape == (3, 5, 3)
    changed = x.clone()
    changed[:, 1] += 1
    moved = ((network(changed, WITHIN) - h).abs() > 1e-6).any(-1) & WITHIN
    assert moved.tolist() == [[True, True, False, False, False]] * 2 + [
        [False] * 5
    ]  # the third sequence ends before that step


def test_padding_and_company_change_nothing():
    network = BackwardRNN(2, 3)
    x = torch.randn(3, 5, 2)
    alone = network(x[1:2, :2], WITHIN[1:2, :2])
    torch.testing.assert_close(network(x, WITHIN)[1:2, :2], alone)
    torch.testing.assert_close(network(x.expand(4, 3, 5, 2), WITHIN.expand(4, 3, 5))[2, 1:2, :2], alone)
