"""Eager: the calls of `Compiled`, without compiling."""

import pyro
import torch
from torch import nn

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.eager import Eager


def test_its_calls_are_those_of_compiled(captured_only):
    net = nn.Linear(2, 3)
    eager, compiled = (kind(lambda x, w: w * net(x), net) for kind in (Eager, Compiled))
    items = list(torch.randn(3, 4, 2))
    torch.testing.assert_close(eager(items[0], w=2.0).detach(), compiled(items[0], w=2.0))
    torch.testing.assert_close([out.detach() for out in eager.each(items, 2.0)], compiled.each(items, 2.0))


def test_parameters_live_in_their_modules_and_products_have_the_precision():
    a, b = torch.randn(4, 5), torch.randn(5, 3)
    seen = []

    def product():
        seen.append(pyro.settings.get("module_local_params"))
        return a @ b

    assert torch.equal(Eager(product, precision="bf16")(), (a.bfloat16() @ b.bfloat16()).float())
    assert torch.equal(Eager(product)(), a @ b)
    assert seen == [True, True]
