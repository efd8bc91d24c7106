"""The power of `diagnose`: planted defects of guides and of data that it finds, and false alarms on right pairs.

    python benchmarks/power.py                       # ten seeds for each defect, a hundred for each right pair

All programs are small, with an exact posterior. An alarm is a verdict that is not good. The table gives the share of
seeds with an alarm: in the whole diagnosis, and in each of its tests. The local test runs where the ranks raise one.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.inference import Diagnosis, diagnose

TESTS = {
    "ranks of dimensions": "calibration",
    "joint ranks": "joint ranks",
    "local test": "local test",
    "data": "data conflict",
}


class Case(NamedTuple):
    """A pair, and what draws its data.

    Attributes:
        model, guide: the pair.
        data: a function from N to N data points `(N, P)`.
    """

    model: Callable[..., Tensor]
    guide: Callable[..., Tensor]
    data: Callable[[int], Tensor]


class Linear:
    """p(z) = Normal(0, I), p(x | z) = Normal(W z, scale^2 I): p(z | x) = Normal(R x, C) is exact.

    Args:
        weight: W, `(P, D)`.
        scale: that of the noise.
    """

    def __init__(self, weight: Tensor, scale: float) -> None:
        self.weight, self.scale = weight, scale
        self.covariance = (torch.eye(weight.shape[1]) + weight.T @ weight / scale**2).inverse()
        self.tril = torch.linalg.cholesky(self.covariance)
        self.regression = self.covariance @ weight.T / scale**2

    def model(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(self.weight.shape[1]), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ self.weight.T, self.scale).to_event(1), obs=x)

    def data(self, size: int, noise: Tensor | float = 1.0) -> Tensor:
        """Data points of the model; of another one if the noise is multiplied."""
        z, shape = torch.randn(size, self.weight.shape[1]), (size, len(self.weight))
        return z @ self.weight.T + self.scale * noise * torch.randn(shape)

    def pair(self, posterior: Callable[[Tensor, Tensor], dist.TorchDistribution]) -> Case:
        """The pair whose guide is a function of the exact mean `(B, D)` and of x."""

        def guide(x: Tensor) -> Tensor:
            with pyro.plate("data", len(x), dim=-1):
                return pyro.sample("z", posterior(x @ self.regression.T, x))

        return Case(self.model, guide, self.data)

    def right(self, shift: float = 0.0, scale: Tensor | float = 1.0) -> Case:
        """The exact guide, or one whose mean is shifted by standard deviations, and whose scale is multiplied."""
        tril = torch.as_tensor(scale) * torch.eye(len(self.tril)) @ self.tril
        off = shift * self.covariance.diagonal().sqrt()
        return self.pair(lambda mean, x: dist.MultivariateNormal(mean + off, scale_tril=tril))


class Modes:
    """p(z) = 1/2 Normal(-1.5, 0.5) + 1/2 Normal(1.5, 0.5), p(x | z) = Normal(z, 2): p(z | x) is such a mixture."""

    at, scale, noise = torch.tensor([-1.5, 1.5]), 0.5, 2.0

    def model(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", size or len(x), dim=-1):
            one = dist.Normal(self.at, self.scale)
            z = pyro.sample("z", dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), one))
            return pyro.sample("x", dist.Normal(z, self.noise).mask(True), obs=x)

    def guide(self, x: Tensor, lost: bool = False) -> Tensor:
        """The exact posterior; or the component alone that has more of its mass."""
        logits = dist.Normal(self.at, (self.scale**2 + self.noise**2) ** 0.5).log_prob(x[:, None])
        logits = logits.log_softmax(-1)
        kept = torch.where(logits > logits.mean(-1, keepdim=True), 0.0, -30.0) if lost else logits
        variance = 1 / (self.scale**-2 + self.noise**-2)
        loc = variance * (self.at / self.scale**2 + x[:, None] / self.noise**2)
        with pyro.plate("data", len(x), dim=-1):
            parts = dist.Normal(loc, torch.full_like(loc, variance**0.5))
            return pyro.sample("z", dist.MixtureSameFamily(dist.Categorical(logits=kept), parts))

    def data(self, size: int, share: float = 0.5) -> Tensor:
        """Data points, with a share of the upper component."""
        upper = (torch.rand(size) < share).long()
        return self.at[upper] + self.scale * torch.randn(size) + self.noise * torch.randn(size)


def plain() -> Linear:
    """Two latents and five columns."""
    return Linear(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), 1.0)


def oblique() -> Linear:
    """Two latents whose posterior has a correlation of about -0.7."""
    return Linear(torch.tensor([[1.0, 1.0], [1.0, 0.8], [0.3, 0.0], [0.0, 0.3]]), 1.0)


def wide() -> Linear:
    """Twenty latents, each of which two columns measure."""
    return Linear(torch.cat([torch.eye(20), torch.eye(20)]), 0.8)


def without_correlation() -> Case:
    pair = oblique()
    return pair.pair(lambda mean, x: dist.Normal(mean, pair.covariance.diagonal().sqrt()).to_event(1))


def heavy() -> Case:
    pair, df = plain(), torch.tensor(3.0)
    return pair.pair(lambda mean, x: dist.MultivariateStudentT(df, mean, pair.tril * (1 / 3) ** 0.5))


def blind() -> Case:
    pair = plain()
    return pair.pair(lambda mean, x: dist.Normal(torch.zeros_like(mean), 1.0).to_event(1))


def one_of_twenty() -> Case:
    return wide().right(scale=torch.where(torch.arange(20) == 7, 0.6, 1.0)[:, None])


def in_one_region() -> Case:
    """The mean is a standard deviation off where the first column is among its highest fifth."""
    pair = plain()
    off, edge = pair.covariance.diagonal().sqrt(), 0.8416 * (pair.weight[0].square().sum() + 1).sqrt()
    posterior = partial(dist.MultivariateNormal, scale_tril=pair.tril)
    return pair.pair(lambda mean, x: posterior(mean + off * (x[:, :1] > edge)))


def misspecified() -> Case:
    pair = plain()
    return pair.right()._replace(data=partial(pair.data, noise=1.5))


DEFECTS: dict[str, Callable[[], Case]] = {
    "correlation left out": without_correlation,
    "a mode lost": lambda: Case(Modes().model, partial(Modes().guide, lost=True), Modes().data),
    "mean shifted by 0.3": lambda: plain().right(shift=0.3),
    "scale times 0.8": lambda: plain().right(scale=0.8),
    "scale times 1.25": lambda: plain().right(scale=1.25),
    "tail too heavy, t with 3 degrees": heavy,
    "x ignored": blind,
    "one dimension of 20, scale times 0.6": one_of_twenty,
    "mean off by 1 in a fifth of x": in_one_region,
    "labels 80 to 20, not 50 to 50": lambda: Case(Modes().model, Modes().guide, partial(Modes().data, share=0.8)),
    "noise of the data times 1.5": misspecified,
}
RIGHT: dict[str, Callable[[], Case]] = {
    "two dimensions": lambda: plain().right(),
    "correlated": lambda: oblique().right(),
    "two modes": lambda: Case(Modes().model, Modes().guide, Modes().data),
    "twenty dimensions": lambda: wide().right(),
}


def diagnosed(case: Case, seed: int, args: argparse.Namespace) -> Diagnosis:
    """The diagnosis of a case on data of a seed."""
    torch.manual_seed(1000 + seed)
    data = {"x": case.data(args.simulations)}
    sizes = {"num_samples": args.draws, "num_simulations": args.simulations}
    return diagnose(case.model, case.guide, data, **sizes, seed=seed)


def alarms(found: Diagnosis) -> list[bool]:
    """Whether there is an alarm at all, in each test, and elsewhere."""
    bad = {verdict.name for verdict in found.verdicts if verdict.good is False}
    tests = [f"{test} (p-value)" for test in TESTS.values()]
    return [bool(bad), *(test in bad for test in tests), bool(bad - set(tests))]


def table(title: str, cases: dict[str, Callable[[], Case]], seeds: int, args: argparse.Namespace) -> None:
    """Print the share of seeds with an alarm, a row for each case."""
    print(f"\n| {title} | diagnose | {' | '.join(TESTS)} | other lines | seconds |\n|---|{'---|' * (3 + len(TESTS))}")
    for name, build in cases.items() if seeds else ():
        start = time.perf_counter()
        found = torch.tensor([alarms(diagnosed(build(), seed, args)) for seed in range(seeds)]).double().mean(0)
        shares = " | ".join(f"{100 * share:.0f} %" for share in found.tolist())
        print(f"| {name} | {shares} | {(time.perf_counter() - start) / seeds:.2f} |", flush=True)


def arguments(doc: str | None, right: int) -> argparse.ArgumentParser:
    """The flags of this benchmark and of power_peers.py.

    Args:
        doc: what `--help` says first.
        right: the default number of seeds for each right pair.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500, help="number of simulations, and of data points")
    parser.add_argument("--draws", type=int, default=200, help="draws of the guide for each data point, of diagnose")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds for each defect")
    parser.add_argument("--right", type=int, default=right, help="number of seeds for each right pair")
    parser.add_argument("--defects", nargs="+", choices=DEFECTS, default=list(DEFECTS), help="which", metavar="NAME")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(__doc__, right=100).parse_args(argv)
    table("defect", {name: DEFECTS[name] for name in args.defects}, args.seeds, args)
    table("right pair", RIGHT, args.right, args)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
