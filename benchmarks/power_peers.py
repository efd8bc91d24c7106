"""The power of sbi's and simuk's checks on the planted defects of benchmarks/power.py, beside that of `diagnose`.

    python benchmarks/power_peers.py                 # ten seeds for each defect, twenty for each right pair
    python benchmarks/power_peers.py --local         # sbi's L-C2ST, with 20 classifiers for each seed

All get the same simulated data points, as many draws of the same guide, and the same level: 1 %, divided by the number
of p-values of a check. Only L-C2ST has 5 %, because 1 % would take a hundred classifiers. It installs nothing: a
peer that is missing is skipped, and without any peer the program ends. simuk samples with PyMC or NumPyro and takes no
guide: here its two methods that sample are replaced. Its ranks are judged by the band of ArviZ's `plot_ecdf_pit`, whose
default group is the one that simuk makes.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from power import DEFECTS, RIGHT, Case, alarms, arguments, diagnosed
from pyro import poutine
from torch import Tensor

from pyrovae.errors import MissingExtraError
from pyrovae.imports import imported
from pyrovae.inference import Calibration

LEVEL = 0.01
DRAWS = 99
NULLS = 19  # classifiers of L-C2ST without a difference


class Simulated(NamedTuple):
    """What a check gets.

    Attributes:
        x, z: simulated data points `(N, P)` and their latents `(N, D)`.
        draws: draws of the guide, `(S, N, D)`.
        guide: the guide.
        data: the data points, `(N, P)`.
        more: other simulated data points, `(M, P)`.
    """

    x: Tensor
    z: Tensor
    draws: Tensor
    guide: Callable[..., Tensor]
    data: Tensor
    more: Tensor

    def sample_batched(self, shape: Any, x: Tensor, **_: Any) -> Tensor:
        """The draws, as a posterior of sbi gives them."""
        return self.draws

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """log q(z | x) of some z of one data point, `(S,)`."""
        narrow = self.x.dim() == 1
        value, batch = (z[:, 0], x.expand(len(z))) if narrow else (z, x.expand(len(z), -1))
        trace = poutine.trace(poutine.condition(self.guide, {"z": value})).get_trace(batch)
        trace.compute_log_prob()
        return trace.nodes["z"]["log_prob"]


def simulated(case: Case, found: Calibration, data: Tensor) -> Simulated:
    """The simulations of a calibration, with draws of the guide."""
    x, z = found.simulations.data["x"], found.simulations.latents["z"]
    draws = torch.stack([case.guide(x) for _ in range(DRAWS)]).detach()
    return Simulated(x, z, draws.reshape(DRAWS, *z.shape), case.guide, data, case.model(size=2 * len(x)).detach())


def ranked(data: Simulated, by: Any) -> bool:
    """sbi's simulation-based calibration: a Kolmogorov-Smirnov test for each dimension, or of log q."""
    from sbi.diagnostics.sbc import check_uniformity_frequentist, run_sbc

    columns = data.x if data.x.dim() > 1 else data.x[:, None]
    ranks, _ = run_sbc(data.z.float(), columns, data, DRAWS, by or "marginals", show_progress_bar=False)
    p_values = check_uniformity_frequentist(ranks, DRAWS)
    return bool((p_values < LEVEL / len(p_values)).any())


def tarp(data: Simulated) -> bool:
    """sbi's TARP with its own references, and its test."""
    from sbi.diagnostics.tarp import check_tarp, run_tarp

    columns = data.x if data.x.dim() > 1 else data.x[:, None]
    found = run_tarp(data.z.float(), columns, data, num_posterior_samples=DRAWS, show_progress_bar=False)
    return check_tarp(*found)[1] < LEVEL


def misspecified(data: Simulated) -> bool:
    """sbi's test of misspecification, by the maximum mean discrepancy of x."""
    from sbi.diagnostics.misspecification import calc_misspecification_mmd

    ours, theirs = (part if part.dim() > 1 else part[:, None] for part in (data.data, data.more))
    return calc_misspecification_mmd(ours, theirs, n_shuffle=100)[0] < LEVEL


def local(data: Simulated) -> bool:
    """sbi's L-C2ST at the data point whose first column is highest."""
    from sbi.diagnostics.lc2st import LC2ST

    columns, at = (part if part.dim() > 1 else part[:, None] for part in (data.x, data.data))
    test = LC2ST(data.z.float(), columns, data.draws[0].float(), num_trials_null=NULLS, z_score=True)
    test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
    one = at[at[:, 0].argmax()][None]
    draws = torch.stack([data.guide(one if data.x.dim() > 1 else one[0]).detach() for _ in range(500)])
    return test.p_value(draws.reshape(500, -1).float(), one) < 1 / NULLS


@cache
def band(size: int, dims: int) -> tuple[Any, Any, Any]:
    """The points and the band of ArviZ's picture of ranks, of all dimensions together."""
    ecdf = imported("arviz_stats.ecdf_utils", "power_peers requires", "arviz-stats")
    points, _, low, high = ecdf.ecdf_pit(torch.linspace(0, 1, size).numpy(), 1 - LEVEL / dims, 1000)
    return points, low, high


def of_simuk(data: Simulated) -> bool:
    """simuk's ranks, judged by ArviZ's band."""
    import xarray
    from arviz_stats.ecdf_utils import compute_ecdf
    from simuk import SBC

    class Given(SBC):
        """simuk's simulation-based calibration of given draws."""

        def __init__(self) -> None:
            self.engine, self.num_simulations, self._simulations_complete = "pyrovae", len(data.z), 0
            self.var_names, self.observed_vars = ["z"], ["x"]
            self.simulations: Any = {"z": []}

        def _get_prior_predictive_samples(self) -> tuple[Any, Any]:
            x = data.x.reshape(1, len(data.z), -1)
            names = "chain", "draw", "column"
            return xarray.Dataset({"z": (names, data.z[None].numpy())}), xarray.Dataset({"x": (names, x.numpy())})

        def _get_posterior_samples(self, _: Any) -> Any:
            draws = data.draws[:, self._simulations_complete]
            return xarray.Dataset({"z": (("sample", "column"), draws.numpy())})

    found = Given()
    found.run_simulations()
    ranks = torch.as_tensor(found.simulations["prior_sbc"]["z"].values).flatten(0, 1)
    points, low, high = band(*ranks.shape)
    curves = [compute_ecdf(column.numpy(), points) for column in ((ranks + 0.5) / (DRAWS + 1)).T]
    return any(bool(((curve < low) | (curve > high)).any()) for curve in curves)


Check = tuple[tuple[str, ...], Callable[[Simulated], bool]]
"""The modules that a check requires, and the check."""

CHECKS: dict[str, Check] = {
    "sbi, ranks": (("sbi.diagnostics",), partial(ranked, by=None)),
    "sbi, coverage by log q": (("sbi.diagnostics",), lambda data: ranked(data, data.log_prob)),
    "sbi, TARP": (("sbi.diagnostics",), tarp),
    "sbi, misspecification": (("sbi.diagnostics",), misspecified),
    "simuk, ranks": (("simuk", "arviz_stats.ecdf_utils"), of_simuk),
}
LOCAL: dict[str, Check] = {"sbi, L-C2ST": (("sbi.diagnostics",), local)}


def measured(case: Case, seed: int, checks: Sequence[Callable[[Simulated], bool]], args: Any) -> list[bool]:
    """The alarms of `diagnose` and of each check, on data of a seed."""
    found = diagnosed(case, seed, args)
    torch.manual_seed(1000 + seed)
    one = simulated(case, found.calibration, case.data(args.simulations))
    torch.manual_seed(5000 + seed)
    with contextlib.redirect_stderr(io.StringIO()):
        return [alarms(found)[0], *(check(one) for check in checks)]


def present(checks: Mapping[str, Check]) -> dict[str, Callable[[Simulated], bool]]:
    """The checks whose packages are installed; the versions of these, and what is missing, are printed.

    Raises:
        SystemExit: no check has its packages.
    """
    found, said = {}, {}
    for name, (modules, check) in checks.items():
        try:
            for module in modules:
                package = module.partition(".")[0].replace("_", "-")
                imported(module, "power_peers requires", package)
                said[package] = f"{package} {version(package)}"
            found[name] = check
        except MissingExtraError as error:
            said[package] = f"skipped: {error}"
    lines = "\n".join(said.values())
    if not found:
        sys.exit(lines)
    print(lines, flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__, right=20)
    parser.add_argument("--local", action="store_true", help="L-C2ST in place of the other checks; it takes longer")
    args = parser.parse_args(argv)
    checks = present(LOCAL if args.local else CHECKS)
    defects = {name: DEFECTS[name] for name in args.defects}
    for title, cases, seeds in (("defect", defects, args.seeds), ("right pair", RIGHT, args.right)):
        print(f"\n| {title} | diagnose | {' | '.join(checks)} |\n|---|{'---|' * (1 + len(checks))}", flush=True)
        for name, build in cases.items() if seeds else ():
            found = [measured(build(), seed, list(checks.values()), args) for seed in range(seeds)]
            shares = " | ".join(f"{100 * share:.0f} %" for share in torch.tensor(found).double().mean(0).tolist())
            print(f"| {name} | {shares} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    main()
