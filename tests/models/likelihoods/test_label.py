"""The likelihood of one label."""

import pytest
import torch

from pyrovae.errors import SettingError, SupportError
from pyrovae.models.likelihoods import Label


def test_its_probabilities_sum_to_one():
    fn = Label(3)(torch.randn(5, 3))
    assert (fn.batch_shape, fn.event_shape) == ((5,), ())
    total = torch.stack([fn.log_prob(torch.full((5,), y)).exp() for y in range(3)]).sum(0)
    torch.testing.assert_close(total, torch.ones(5))


def test_it_starts_at_the_frequencies():
    likelihood = Label(3)
    assert likelihood.params_shape == (3,)
    fitted = likelihood.start(torch.tensor([0, 0, 0, 1])).softmax(-1)
    torch.testing.assert_close(fitted, torch.tensor([4.0, 2.0, 1.0]) / 7)  # one is added to each count


def test_its_draws_are_labels():
    drawn = Label(4)(torch.zeros(100, 4)).sample()
    assert drawn.dtype == torch.int64
    assert set(drawn.tolist()) == {0, 1, 2, 3}
    Label(4).check(drawn)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_other_labels_have_no_density(wrong, says):
    with says(SupportError, "Label requires labels in {0, ..., 2}", "Number the labels from 0"):
        Label(3).check(torch.tensor([0, wrong]))


def test_one_label_is_none(says):
    with says(SettingError, "classes", "2"):
        Label(1)


def test_its_repr():
    assert repr(Label(3)) == "Label((), classes=3)"
