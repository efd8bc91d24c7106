"""What a step of `SVI` spends on the question whether the programs still read what they read.

    python benchmarks/guards.py

The dense pair of `examples/vae.py` at 128 images, on one thread, compiled. The guards are called as a step calls them;
both times are medians of processor time, in turn.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from pyrovae.inference import ELBO, SVI

ROUNDS, STEPS, LOOKS = 7, 200, 2000


def microseconds(call: Callable[[], Any], times: int) -> float:
    """The mean time of a call.

    Args:
        call: what is timed.
        times: how many calls.
    """
    started = time.thread_time()
    for _ in range(times):
        call()
    return 1e6 * (time.thread_time() - started) / times


def main() -> None:
    """Print the two medians and their ratio."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    example = importlib.import_module("pyrovae.examples.vae")
    images = (torch.rand(128, 1, 28, 28) < 0.2).float()
    model, guide, _ = example.pair(example.arguments([]), {"x": images})
    svi = SVI(model, guide, (torch.optim.AdamW, {"lr": 1e-3}), ELBO(), compile=True, verify=False)
    for _ in range(10):
        svi.step(images)
    compiled = svi._steps.one  # the guards have no door of their own
    (key, state) = next(iter(compiled._graphs))
    assert compiled._state(key) == state
    steps, looks = [], []
    for _ in range(ROUNDS):
        steps.append(microseconds(lambda: svi.step(images), STEPS))
        looks.append(microseconds(lambda: compiled._state(key) == state, LOOKS))
    step, look = statistics.median(steps), statistics.median(looks)
    print(f"guards {look:.1f} us of a step of {step:.0f} us: {100 * look / step:.2f} %")


if __name__ == "__main__":
    main()
