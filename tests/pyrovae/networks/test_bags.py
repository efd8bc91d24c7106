"""Networks of bags of words: batch norm without a gain, and the encoder."""

import pytest
import torch

from pyrovae.errors import SettingError, ShapeError
from pyrovae.networks import BagEncoder, UnitBatchNorm


def test_units_have_their_spread_over_a_batch_and_their_shift():
    norm = UnitBatchNorm(3, [1.0, 2.0, 0.5])
    norm.shift.data.copy_(torch.tensor([1.0, 0.0, -1.0]))
    out = norm(5 + 3 * torch.randn(4, 50, 3)).flatten(0, 1)
    torch.testing.assert_close(out.mean(0), norm.shift.data, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.tensor([1.0, 2.0, 0.5]), atol=1e-4, rtol=0)


def test_evaluation_uses_the_averages_of_training():
    norm, h = UnitBatchNorm(2, momentum=1.0), 5 + 3 * torch.randn(100, 2)
    norm(h)
    norm.eval()
    torch.testing.assert_close(norm(h[:1]), (h[:1] - h.mean(0)) / h.std(0), atol=1e-4, rtol=0)


def test_a_single_row_is_normalised_by_the_averages():
    norm, h = UnitBatchNorm(2), torch.randn(1, 2)
    torch.testing.assert_close(norm(h), h, atol=1e-4, rtol=0)
    assert norm.running_mean.eq(0).all()


def test_an_encoder_takes_any_leading_dimensions_and_normalises_its_outputs():
    encoder, x = BagEncoder(5, 4, (7,), dropout=0.0), torch.poisson(torch.rand(3, 40, 5))
    assert encoder(x).shape == (3, 40, 4)
    torch.testing.assert_close(encoder(x).flatten(0, 1).std(0, correction=0), torch.ones(4), atol=0.05, rtol=0)
    plain = BagEncoder(5, 4, (), dropout=0.0, normalise=False)
    torch.testing.assert_close(plain(x), plain.layers[-1](x.log1p()))
    with pytest.raises(ShapeError):
        encoder(torch.zeros(2, 6))


def test_settings(says):
    with says(ShapeError, "spread", "3"):
        UnitBatchNorm(3, [1.0, 2.0])
    with says(SettingError, "spread", "0"):
        UnitBatchNorm(3, 0.0)
    with says(SettingError, "momentum", "2"):
        UnitBatchNorm(3, momentum=2.0)
    with says(SettingError, "dropout", "-1"):
        BagEncoder(3, 2, dropout=-1.0)
