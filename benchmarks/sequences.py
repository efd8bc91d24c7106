"""Steps on sequences: the loop over time as one loop of the compiled graph, against the same step run eagerly.

    python benchmarks/sequences.py                     # the deep Markov model of T = 20, 40, 160, sentences of 5, 12
    python benchmarks/sequences.py --markov 20 --text  # one length, no sentences

The pairs and sizes are those of examples/deep_markov.py (20 sequences of 88 keys) and examples/text_vae.py (128
sentences, 3,707 words); the data are random, because they do not change the arithmetic. Compiled and eager steps take
turns in blocks of ten, from the same weights and random numbers. A block is timed by the CPU time of its one thread,
which other processes on the machine hardly change. The first three steps, of which the third is captured and compiled
with an empty cache, are timed by the clock, and by the CPU time of this process and its compilers.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pyrovae.data.tokens import EOS, PAD
from pyrovae.examples import deep_markov, text_vae
from pyrovae.inference import ELBO, SVI

KEYS, SEQUENCES, WORDS, SENTENCES = 88, 20, 3707, 128

Workload = tuple[tuple[torch.nn.Module, torch.nn.Module], dict[str, Tensor]]


def markov(length: int) -> Workload:
    """The deep Markov model, on sequences of which the longest has so many steps."""
    x = (torch.rand(SEQUENCES, length, KEYS) < 0.05).float()
    ends = torch.randint(length // 2, length + 1, (SEQUENCES,))
    ends[0] = length
    batch = {"x": x, "within": torch.arange(length) < ends[:, None]}
    return deep_markov.pair(deep_markov.arguments([]), batch), batch


def sentences(length: int) -> Workload:
    """The VAE of sentences, on sentences of which the longest has so many tokens, EOS included."""
    ends = torch.randint(length - 1, length + 1, (SENTENCES,)) - 1
    ends[0] = length - 1
    places = torch.arange(length)
    x = torch.randint(4, WORDS, (SENTENCES, length)).masked_fill(places > ends[:, None], PAD)
    return text_vae.pair(text_vae.arguments([]), "vae", WORDS, length), {
        "x": x.masked_fill(places == ends[:, None], EOS)
    }


class Contestant:
    """Steps of one pair, compiled or eager.

    Args:
        pair: model and guide.
        batch: the batch of each step.
        compile: whether to compile.
    """

    def __init__(self, pair: tuple[torch.nn.Module, torch.nn.Module], batch: dict[str, Tensor], compile: bool) -> None:
        optim = partial(torch.optim.Adam, lr=1e-3)
        self.svi = SVI(*pair, optim, ELBO(analytic=True), compile=compile)
        self.batch, self.seconds = batch, []
        torch.manual_seed(1)
        start, used = time.perf_counter(), sum(os.times()[:4])
        self.losses = [self.svi.step(**batch) for _ in range(3)]  # the third is captured and compiled
        self.first = time.perf_counter() - start, sum(os.times()[:4]) - used
        self.random = torch.get_rng_state()

    def block(self, steps: int = 10) -> None:
        """Take some steps, and note the CPU time of one."""
        torch.set_rng_state(self.random)
        start = time.process_time()
        self.losses += [self.svi.step(**self.batch) for _ in range(steps)]
        self.seconds.append((time.process_time() - start) / steps)
        self.random = torch.get_rng_state()


def measure(name: str, build: Callable[[int], Workload], length: int, rounds: int) -> None:
    """Print one row of the table."""
    torch.manual_seed(0)
    pair, batch = build(length)
    ours, eager = (Contestant(copy.deepcopy(pair), batch, compile) for compile in (True, False))
    for _ in range(rounds + 1):
        ours.block()
        eager.block()
    torch.testing.assert_close(torch.tensor(ours.losses), torch.tensor(eager.losses), rtol=1e-3, atol=0)
    ratios = [a / b for a, b in zip(ours.seconds[1:], eager.seconds[1:], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    times = [1e3 * statistics.median(one.seconds[1:]) for one in (ours, eager)]
    print(
        f"| {name} | {length} | {times[0]:.1f} | {times[1]:.1f} | **{middle:.2f}** ({low:.2f}–{high:.2f}) | "
        f"{ours.first[0]:.0f} | {ours.first[1]:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markov", type=int, nargs="*", default=[20, 40, 160], help="lengths of sequences")
    parser.add_argument("--text", type=int, nargs="*", default=[5, 12], help="lengths of sentences")
    parser.add_argument("--rounds", type=int, default=9, help="blocks of ten steps of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| pair | T | ours, ms/step | eager, ms/step | ratio (quartiles) | first three steps, s | CPU s of these |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name, build, lengths in (("deep Markov", markov, args.markov), ("sentences", sentences, args.text)):
            for length in lengths:
                measure(name, build, length, args.rounds)


if __name__ == "__main__":
    main()
