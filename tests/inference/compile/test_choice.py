"""Compiling pays for large work, and the user's own choice goes before."""

import pytest
import torch

from pyrovae.inference.compile import Compiled, maybe_compiled, should_compile
from pyrovae.inference.compile.choice import COMPILE_FROM


@pytest.mark.parametrize(
    ("work", "compile", "expected"),
    [
        (COMPILE_FROM, None, False),
        (COMPILE_FROM + 1, None, True),
        (1, True, True),
        (COMPILE_FROM + 1, False, False),
    ],
)
def test_the_choice(work, compile, expected):
    def fn(x):
        return x + 1

    assert should_compile(work, compile) == expected
    chosen = maybe_compiled(fn, work=work, compile=compile)
    assert isinstance(chosen, Compiled) == expected
    assert expected or chosen is fn


def test_a_compiled_function_runs_its_programs(captured_only):
    net = torch.nn.Linear(2, 3)
    chosen, x = maybe_compiled(lambda x: net(x), net, work=1, compile=True), torch.ones(4, 2)
    torch.testing.assert_close(chosen(x), net(x).detach())
    assert chosen.programs == (net,)
