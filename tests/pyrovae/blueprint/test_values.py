"""Every value that a constructor may be given is built again as it was: type, bits, and identity."""

import json
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pyrovae.blueprint import Names, blueprint_of, build
from pyrovae.data import Binarize, Table, Vocabulary
from pyrovae.errors import FolderError
from pyrovae.guides import NormalGuide
from pyrovae.models import Program
from pyrovae.networks.dense import MLP
from pyrovae.recorded import Recorded


class Holder(Recorded, nn.Module):
    """Keeps what it is given."""

    def __init__(self, *values, **named):
        super().__init__()
        self.values, self.named = values, named


@dataclass(frozen=True)
class Shift:
    """A transform of a user's own."""

    by: float = 1.0


def again(value, classes=(Holder, Shift)):
    """The value after a way through JSON."""
    blueprint = blueprint_of({"root": value})
    parts = json.loads(json.dumps([blueprint.objects, blueprint.replaced, blueprint.roots], allow_nan=False))
    return build(replace(blueprint, objects=parts[0], replaced=parts[1], roots=parts[2]), Names(classes))["root"]


VALUES = [
    None,
    True,
    0,
    -(2**80),
    0.1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    "x",
    "\ud800 \u2028 \x00 é",
    [],
    (),
    {},
    [1, (2.0, [None, ("3",)])],
    {"a": 1, 2: {"b": (3,)}, None: 4, (1, 2): 5},
    torch.float64,
    nn.ReLU,
    MLP,
    np.float32(0.1),
    np.int64(-7),
    np.bool_(True),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_a_value_is_itself(value):
    found = again(Holder(value, named=[value]))
    for mine in (found.values[0], found.named["named"][0]):
        assert type(mine) is type(value)
        assert repr(mine) == repr(value)


def test_nan_is_nan():
    assert math.isnan(again(Holder(math.nan)).values[0])


@pytest.mark.parametrize(
    "tensor", [torch.tensor([math.nan, -0.0, math.inf]), torch.arange(6).reshape(2, 3).T, torch.tensor(True)]
)
def test_tensors_and_arrays_keep_their_bits(tensor):
    mine, array = again(Holder(tensor, tensor.numpy())).values
    assert mine.dtype == tensor.dtype
    assert isinstance(array, np.ndarray)
    for found in (mine.numpy(), array):
        assert found.shape == tensor.shape
        assert found.tobytes() == tensor.numpy().tobytes()


def test_a_shared_object_stays_shared():
    part = nn.Linear(2, 3)
    found = again(Holder(part, [part], MLP(1, 1)))
    assert found.values[0] is found.values[1][0]


def test_dataclasses_of_the_suite_and_of_the_user():
    words = Vocabulary(("<pad>", "a"), "char")
    table = Table.of(np.array([[1.5, 2.0], [0.5, 3.0]]))
    for value in (Binarize("static", 3), words, table, Shift(2.5)):
        assert again(value) == value


def test_a_method_of_a_module_belongs_to_its_owner():
    guide = NormalGuide(MLP(3, 4))
    found = again(Holder(guide, guide.given)).values
    assert found[1].__self__ is found[0]
    assert found[1].__func__ is NormalGuide.given


def test_a_partial_of_a_class_is_built_as_one():
    (found,) = again(Holder(partial(nn.LeakyReLU, negative_slope=0.3))).values
    assert found().negative_slope == 0.3


LAYERS = [
    nn.Linear(3, 2, bias=False),
    nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False, padding_mode="reflect"),
    nn.Conv1d(2, 4, 3, padding="same"),
    nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose1d(2, 3, 3, dilation=2),
    nn.BatchNorm2d(3, momentum=None, affine=False),
    nn.BatchNorm1d(3, eps=1e-3, track_running_stats=False),
    nn.LayerNorm((2, 3), eps=1e-3, bias=False),
    nn.LayerNorm(3, elementwise_affine=False),
    nn.GroupNorm(2, 4, affine=False),
    nn.Embedding(5, 3, padding_idx=0),
    nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1),
    nn.GRU(2, 3, bias=False),
    nn.RNN(2, 3, nonlinearity="relu"),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.AvgPool2d(3, stride=1),
    nn.AdaptiveAvgPool2d(1),
    nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    nn.Dropout(0.3),
    nn.Dropout2d(0.2),
    nn.Flatten(2),
    nn.Unflatten(1, (2, 3)),
    nn.ReLU(inplace=True),
    nn.LeakyReLU(0.3),
    nn.ELU(0.5),
    nn.SELU(),
    nn.SiLU(),
    nn.GELU("tanh"),
    nn.GLU(1),
    nn.Softplus(2, 30),
    nn.Softmax(1),
    nn.Hardtanh(-2.0, 2.0),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.Identity(),
    nn.ModuleList([nn.Linear(1, 2)]),
    nn.Sequential(OrderedDict(first=nn.Linear(1, 2), last=nn.Tanh())),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_of_torch_are_built_from_their_attributes(layer):
    found = again(Holder(layer)).values[0]
    assert repr(found) == repr(layer)
    shapes = [{name: tensor.shape for name, tensor in part.state_dict().items()} for part in (found, layer)]
    assert shapes[0] == shapes[1]
    assert found is not layer


class Plain(nn.Module):
    """A module that records nothing."""


def local():
    class Inside(Program):
        pass

    return Inside()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Holder(lambda: 1), ["The argument 'values' of Holder", "the function", "partial(nn.LeakyReLU"]),
        (MLP(1, 2, activation=lambda: nn.ReLU()), ["The argument 'activation' of MLP", "function"]),
        (Holder(x=map(str, [])), ["The argument 'named' of Holder", "a map"]),
        (Holder(n for n in ()), ["a generator", "list(...)"]),
        (Holder({1}), ["a set", "tuples"]),
        (Holder(object()), ["an object"]),
        (Holder(Plain()), ["a Plain", "does not record", "class Plain(pyrovae.Recorded, nn.Module)"]),
        (nn.Sequential(Plain()), ["root['0']", "Plain"]),
        (nn.Bilinear(1, 1, 1), ["root is a Bilinear", "does not record"]),
        (print, ["root is the function 'print'"]),
        (local(), ["defined inside a function"]),
        (Holder(np.array(["a"])), ["array of <U1"]),
        (Holder(np.complex64(1)), ["complex64"]),
        (Holder(torch.empty(1).expand(2**25)), ["33,554,432 numbers", "buffer"]),
        (torch.nn.Parameter, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_held_is_named_with_the_line_to_write(value, words, says):
    if words is None:
        assert blueprint_of({"root": value}).own == (torch.nn.Parameter,)  # its reader has to list it
        return
    with says(FolderError, *words):
        blueprint_of({"root": value})


def test_a_circle_is_refused(says):
    holder = Holder([])
    holder._recorded.args[0].append(holder)
    with says(FolderError, "built of it"):
        blueprint_of({"root": holder})


def test_two_classes_of_one_name_are_refused(says):
    other = type("Holder", (Recorded, nn.Module), {"__module__": "elsewhere", "__qualname__": "Holder"})
    with says(FolderError, "two 'Holder'"):
        blueprint_of({"root": Holder(other())})
    with says(FolderError, "two 'Holder'"):
        Names([Holder, other])
    with says(FolderError, "list of classes"):
        Names("Holder")


def test_a_class_of_the_user_is_found_by_its_name_in_any_module():
    """A script's classes are in `__main__` when they are saved, and in a module when they are loaded."""
    names = Names([Shift])
    for name in ("Shift", "__main__.Shift", f"{Shift.__module__}.Shift"):
        assert names.find(name) is Shift
    for name in ("os.system", "builtins.eval", "torch.nn.Module", "pyrovae.models.Program.x", "NoShift", "", None, 3):
        with pytest.raises(FolderError):
            names.find(name)
