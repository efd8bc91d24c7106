"""A module remembers the arguments of its constructor, through copies, pickles and training."""

import copy
import inspect
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, Level, Likelihood, Program, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.recorded import Lost, Recorded, record_of


class Mine(Recorded, nn.Module):
    """A network of a user's own."""

    def __init__(self, *sizes, name="mine", **further):
        super().__init__()
        self.sizes, self.name, self.further = sizes, name, further


class Bare(Recorded, nn.Module):
    """A module without arguments."""


def record(module):
    found = record_of(module)
    return found.args, found.kwargs


def test_the_arguments_are_recorded_as_they_were_given():
    assert record(MLP(3, out_shape=(2, 4), hidden=[5])) == ((3,), {"out_shape": (2, 4), "hidden": [5]})
    assert record(Mine(1, 2, name="it", more=None)) == ((1, 2), {"name": "it", "more": None})
    assert record(Bare()) == ((), {})


def test_a_module_without_the_mixin_records_nothing():
    assert record_of(nn.Linear(1, 1)) is None
    assert record_of(print) is None


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_has_the_record_of_its_original(again):
    twin = again(MLP(3, 2, (5,)))
    assert record(twin) == ((3, 2, (5,)), {})
    assert twin(torch.zeros(1, 3)).shape == (1, 2)


def test_the_record_of_a_deep_copy_refers_to_the_copy():
    prior, likelihood = priors.StandardNormal(2), likelihoods.Bernoulli(3)
    twin = copy.deepcopy(VAE(prior, likelihood, MLP(2, 3)))
    (mine, *_), _ = record(twin)
    assert mine is twin.prior
    assert mine is not prior


def test_a_list_that_changes_later_changes_no_record():
    hidden = [5]
    network = MLP(3, 2, hidden)
    hidden.append(6)
    assert record(network) == ((3, 2, [5]), {})


def test_the_record_is_no_part_of_the_module():
    """It adds no parameter, no submodule and no state, and it does not show."""
    guide = NormalGuide(MLP(3, 4, (5,)))
    assert [name for name, _ in guide.named_children()] == ["encoder"]
    assert len(guide.state_dict()) == len(list(guide.parameters())) == 4
    assert "record" not in repr(guide)


def test_signatures_stay_those_of_the_constructors():
    assert list(inspect.signature(MLP).parameters) == ["in_shape", "out_shape", "hidden", "activation"]
    assert list(inspect.signature(NormalGuide).parameters) == ["encoder"]


def test_an_abstract_class_is_still_not_built():
    with pytest.raises(TypeError, match="abstract"):
        Likelihood(3)
    with pytest.raises(TypeError, match="argument"):
        MLP()


def test_programs_of_a_user_record_too():
    class Model(Program):
        def __init__(self, dim):
            super().__init__()
            self.dim = dim

    assert record(Model(4)) == ((4,), {})


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (lambda x: x, "the function"),
        (torch.tanh, "the function 'tanh'"),
        ((n for n in range(3)), "generator"),
        ({1, 2}, "a set"),
        (object(), "an object"),
        (partial(torch.tanh, 1), "partial"),
    ],
)
def test_what_no_file_can_hold_leaves_words_alone(value, word):
    """So a module can be pickled with such an argument, if it could be before."""
    (kept,), _ = record(Mine(value))
    assert isinstance(kept, Lost)
    assert word in kept.what
    inside = record(Mine([{"a": (value,)}]))[0][0][0]["a"][0]
    assert isinstance(inside, Lost)


def test_an_activation_that_cannot_be_pickled_keeps_no_module_from_it():
    twin = pickle.loads(pickle.dumps(MLP(3, 2, (4,), lambda: nn.ReLU())))
    assert "function" in record(twin)[0][3].what


def test_values_that_a_file_can_hold_are_kept_themselves():
    array, tensor, network = np.arange(3), torch.arange(3), nn.Linear(1, 1)
    values = (None, True, 1, 2.5, "x", torch.float64, nn.ReLU, array, tensor, network, np.float32(2))
    (args, _) = record(Mine(*values))
    assert all(a is b for a, b in zip(args, values, strict=True))


def test_a_tensor_with_a_history_is_kept_without_it():
    drawn = torch.ones(2, requires_grad=True) * 2
    (kept,), _ = record(Mine(drawn))
    assert not kept.requires_grad
    copy.deepcopy(record_of(Mine(drawn)))


def test_modules_inside_arguments_are_recorded_once_each():
    level = Level(MLP(1, 2), MLP(3, 1))
    assert record(level)[0] == (level.conditional, level.step)
