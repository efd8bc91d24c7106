"""Watch: its key changes exactly when something that a graph holds fixed does."""

import weakref

import pytest
import torch
from torch import nn

from pyrovae.inference.compile.state.watch import Hashed, Watch, put_back


class Net(nn.Module):
    """A module with a plain attribute of each kind."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.register_buffer("mean", torch.zeros(2))
        self.factor, self.name, self.cache = 1.0, "a", torch.ones(2)


def test_hashed_tuples_compare_by_value():
    assert Hashed((1, "a")) == Hashed((1, "a"))
    assert hash(Hashed((1, "a"))) == hash(Hashed((1, "a")))
    assert Hashed((1,)) != Hashed((2,))
    assert Hashed((1,)) != (1,)


def test_the_contents_of_tensors_are_not_watched():
    net = Net()
    watch = Watch([net])
    key = watch()
    with torch.no_grad():
        net.layer.weight.fill_(7.0)
        net.cache.add_(1)
    assert watch() == key


CHANGES = {
    "number": lambda net: setattr(net, "factor", 2.0),
    "string": lambda net: setattr(net, "name", "b"),
    "type": lambda net: setattr(net, "factor", 1),
    "mode": lambda net: net.eval(),
    "tensor": lambda net: setattr(net, "cache", torch.ones(2)),
    "submodule": lambda net: setattr(net, "layer", nn.Linear(2, 3)),
    "parameter": lambda net: setattr(net.layer, "weight", nn.Parameter(torch.ones(3, 2))),
    "buffer": lambda net: setattr(net, "mean", torch.zeros(2)),
    "frozen": lambda net: net.layer.weight.requires_grad_(False),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_key_changes_with_what_a_graph_holds_fixed(change):
    net = Net()
    watch = Watch([net])
    key = watch()
    assert watch() == key
    change(net)
    assert watch() != key


def test_other_objects_than_modules_are_watched():
    class Loss:
        weight = 1.0

    loss = Loss()
    loss.scale = 1.0
    watch = Watch([loss])
    key = watch()
    loss.scale = 2.0
    assert watch() != key


def test_a_weak_reference_is_a_cache_and_not_watched():
    net, first, second = Net(), Net(), Net()
    net.last = weakref.ref(first)
    watch = Watch([net])
    key = watch()
    net.last = weakref.ref(second)
    assert watch() == key


def test_ignored_attributes_may_change():
    net = Net()
    watch = Watch([net])
    watch.ignore([(net.__dict__, "cache")])
    key = watch()
    net.cache = torch.ones(5)
    assert watch() == key
    net.factor = 2.0
    assert watch() != key


def test_changes_are_listed_with_the_old_values_and_put_back():
    net = Net()
    old = net.cache
    watch = Watch([net])
    changed = watch.changes()
    assert changed() == []
    net.cache, net.factor, net.new = torch.ones(3), 5.0, "fresh"
    found = changed()
    assert sorted(name for (_, name), _ in found) == ["cache", "factor", "new"]
    put_back(found)
    assert net.cache is old
    assert net.factor == 1.0
    assert not hasattr(net, "new")
    assert changed() == []
