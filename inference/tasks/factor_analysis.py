"""Factor analysis with missing entries, in closed form: the linear model that is nested in a VAE, and its baseline."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_number, check_positive, check_tensor
from pyrovae.data.masks import check_mask
from pyrovae.display import Cells, Shown
from pyrovae.errors import NonFiniteError, SettingError
from pyrovae.inference.pair.running import seeded

__all__ = ["FactorAnalysis", "factor_analysis"]

_ROWS = 2**22
"""About how many numbers a portion of the rows may take, as K x K matrices."""


@dataclass(frozen=True, repr=False)
class FactorAnalysis(Shown):
    """p(x, z) = Normal(z; 0, 1) prod_d Normal(x_d; loc_d + (W z)_d, scale_d).

    Everything about it is exact: with gaps, p(x_observed) and p(z | x_observed) are normal too.

    Attributes:
        loc: the means, `(D,)`.
        loadings: W, `(D, K)`; its columns are orthogonal in units of `scale`, the largest first.
        scale: the standard deviations given z, `(D,)`.
        num_steps: the number of EM steps that were taken.
    """

    loc: Tensor
    loadings: Tensor
    scale: Tensor
    num_steps: int

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The mean `(N, K)` and the covariance `(N, K, K)` of p(z | x_observed).

        Args:
            x: rows `(N, D)`; what stands in a gap does not matter.
            mask: which entries are observed, bool `(N, D)`; all if None.
        """
        return _posterior(*self._rows(x, mask), self.loc, self.loadings, self.scale)[:2]

    def log_evidence(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """log p(x_observed) of each row, `(N,)`, in nats.

        Args:
            x, mask: as in `posterior`.
        """
        x, seen = self._rows(x, mask)
        return _posterior(x, seen, self.loc, self.loadings, self.scale)[2]

    def impute(self, x: Tensor, mask: Tensor) -> Tensor:
        """The rows, `(N, D)`, with E[x | x_observed] in their gaps.

        Args:
            x, mask: as in `posterior`.
        """
        mean, _ = self.posterior(x, mask)
        return torch.where(mask, x, (self.loc + mean @ self.loadings.T).to(x.dtype))

    def imputations(self, x: Tensor, mask: Tensor, num_imputations: int, *, seed: int = 0) -> Tensor:
        """Completed tables, `(M, N, D)`, whose gaps are draws of p(x_missing | x_observed).

        Args:
            x, mask: as in `posterior`.
            num_imputations: M.
            seed: the seed of the draws; the global random state is left alone.
        """
        size = check_count("num_imputations", num_imputations, write=50)
        mean, covariance = self.posterior(x, mask)
        root = torch.linalg.cholesky(covariance)
        with seeded(seed, torch.device("cpu")):
            z = mean + (root @ torch.randn(size, *mean.shape, 1, dtype=mean.dtype)).squeeze(-1)
            drawn = self.loc + z @ self.loadings.T + self.scale * torch.randn(size, *x.shape, dtype=mean.dtype)
        return torch.where(mask, x, drawn.to(x.dtype))

    def cells(self) -> Cells:
        communality = 1 - self.scale**2 / (self.scale**2 + self.loadings.square().sum(1))
        rows = {
            "columns": f"{len(self.loc)}",
            "factors": f"{self.loadings.shape[1]}",
            "explained by the factors, median column": f"{100 * communality.median().item():.0f} %",
            "EM steps": f"{self.num_steps}",
        }
        return Cells(list(rows.items()), words=(0, 1))

    def _rows(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        x = check_tensor("x", x, f"(N, {len(self.loc)})", dims=2)
        return _observed(x, mask)


def factor_analysis(
    x: Tensor,
    num_factors: int,
    mask: Tensor | None = None,
    *,
    num_steps: int = 500,
    tolerance: float = 1e-5,
    least: float = 0.01,
    ridge: float = 0.0,
) -> FactorAnalysis:
    """Fit factor analysis to the observed entries by EM: maximum likelihood, or with a penalty of the loadings.

    It maximises sum_n log p(x_observed) - ridge / 2 sum_d |w_d|^2 / scale_d^2. With a ridge the number of factors
    hardly matters, and intervals are not too narrow where columns are many for the rows. Without one, EM expands its
    parameters, which is faster.

    Args:
        x: rows `(N, D)`; what stands in a gap does not matter.
        num_factors: K. More than D - 1 factors add nothing, so the loadings of the others are 0.
        mask: which entries are observed, bool `(N, D)`; all if None.
        num_steps: the largest number of EM steps.
        tolerance: stop once a step raises the mean of log p(x_observed) by less, in nats per row.
        least: a lower bound of `scale`, in standard deviations of the column. Without one, a column may be taken for a
            factor, and its scale falls to 0.
        ridge: the weight of the penalty, in rows: a few shrink the loadings of a few hundred rows a little.

    Raises:
        SettingError: a setting outside its range, or fewer than 2 rows.
        NonFiniteError: an observed entry is NaN or infinite.
        ShapeError: x of another shape.

    References: Rubin & Thayer (1982), EM algorithms for ML factor analysis; Liu, Rubin & Wu (1998), PX-EM.
    """
    x = check_tensor("x", x, "(N, D)", dims=2)
    num_factors, num_steps = check_count("num_factors", num_factors), check_count("num_steps", num_steps)
    check_positive("tolerance", tolerance, write=1e-5)
    check_positive("least", least, write=0.01)
    check_number("ridge", ridge, 0, write=3)
    if len(x) < 2:
        raise SettingError(f"factor_analysis requires 2 rows or more, got {len(x)}. Pass more rows.")
    x, seen = _observed(x, mask)
    loc, spread = _moments(x, seen)
    scaled = (x - loc) / spread * seen
    own = min(num_factors, max(1, x.shape[1] - 1))
    center, loadings, scale, taken = _fitted(scaled, seen, own, num_steps, tolerance, least, ridge)
    rest = torch.zeros(len(loc), num_factors - own, dtype=loc.dtype, device=loc.device)
    loadings = torch.cat([_canonical(loadings, scale), rest], 1)
    return FactorAnalysis(loc + spread * center, spread[:, None] * loadings, spread * scale, taken)


def _observed(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows in float64 with 0 in their gaps, and 1 where they are observed."""
    seen = torch.ones_like(x, dtype=torch.bool) if mask is None else check_mask("mask", mask)
    x = torch.where(seen, x.double(), 0.0)
    if not bool(x.isfinite().all()):
        raise NonFiniteError("factor_analysis requires finite observed entries, got NaN or infinite ones. Mask them.")
    return x, seen.double()


def _moments(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each column; 1 for a constant one."""
    count = seen.sum(0).clamp_min(1)
    loc = x.sum(0) / count
    spread = (((x - loc) * seen).square().sum(0) / count).sqrt()
    return loc, torch.where(spread > 1e-12 * loc.abs().clamp_min(1e-300), spread, 1.0)


def _fitted(
    x: Tensor, seen: Tensor, num_factors: int, num_steps: int, tolerance: float, least: float, ridge: float
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Location, loadings and scale of standardised rows, and the number of steps."""
    loc, loadings, scale = _start(x, seen, num_factors)
    if bool(seen.all()):
        return loc, *_fitted_complete(x.T @ x / len(x), loadings, scale, num_steps, tolerance, least, ridge / len(x))
    last = -math.inf
    for step in range(1, num_steps + 1):
        mean, covariance, evidence = _posterior(x, seen, loc, loadings, scale)
        reached = evidence.mean().item() - _penalty(loadings, scale, ridge / len(x))
        if reached - last < tolerance:
            return loc, loadings, scale, step
        last = reached
        loc, loadings, scale = _maximised(x, seen, mean, covariance, least, ridge)
    return loc, loadings, scale, num_steps


def _penalty(loadings: Tensor, scale: Tensor, ridge: float) -> float:
    return 0.5 * ridge * (loadings / scale[:, None]).square().sum().item()


def _fitted_complete(
    covariance: Tensor, loadings: Tensor, scale: Tensor, num_steps: int, tolerance: float, least: float, ridge: float
) -> tuple[Tensor, Tensor, int]:
    """The same of rows without gaps, whose covariance says all."""
    last, variance, eye = -math.inf, covariance.diagonal(), torch.eye(loadings.shape[1]).to(loadings)
    for step in range(1, num_steps + 1):
        unit = loadings / scale[:, None]
        root = torch.linalg.cholesky(eye + unit.T @ unit)
        inner = torch.cholesky_inverse(root)
        slope = unit / scale[:, None] @ inner
        joint = covariance @ slope
        second = inner + slope.T @ joint
        log_det = 2 * (scale.log().sum() + root.diagonal().log().sum())
        trace = (variance / scale**2).sum() - (unit / scale[:, None] * joint).sum()
        reached = -0.5 * (log_det + trace).item() - _penalty(loadings, scale, ridge)
        if reached - last < tolerance:
            return loadings, scale, step
        last = reached
        weights = torch.linalg.solve(second + ridge * eye, joint.T).T
        scale = (variance - (weights * joint).sum(1)).clamp_min(least**2).sqrt()
        loadings = weights if ridge else weights @ torch.linalg.cholesky(second)
    return loadings, scale, num_steps


def _start(x: Tensor, seen: Tensor, num_factors: int) -> tuple[Tensor, Tensor, Tensor]:
    """The principal axes of the covariance of pairwise observed entries."""
    both = (seen.T @ seen).clamp_min(1)
    values, vectors = torch.linalg.eigh(x.T @ x / both)
    values, vectors = values.flip(0)[:num_factors], vectors.flip(1)[:, :num_factors]
    loadings = vectors * values.clamp_min(1e-3).sqrt() * 0.7**0.5
    return torch.zeros_like(x[0]), loadings, (1 - loadings.square().sum(1)).clamp(0.05, 1.0).sqrt()


def _posterior(x: Tensor, seen: Tensor, loc: Tensor, loadings: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The moments of p(z | x_observed), and log p(x_observed)."""
    rows = max(1, _ROWS // loadings.shape[1] ** 2)
    parts = [_posterior_part(*part, loc, loadings, scale) for part in zip(x.split(rows), seen.split(rows), strict=True)]
    mean, covariance, evidence = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, covariance, evidence


def _posterior_part(
    x: Tensor, seen: Tensor, loc: Tensor, loadings: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    size, (width, factors) = len(x), loadings.shape
    unit = loadings / scale[:, None]
    outer = (unit[:, :, None] * unit[:, None, :]).reshape(width, -1)
    eye = torch.eye(factors, dtype=x.dtype, device=x.device)
    root = torch.linalg.cholesky(eye + (seen @ outer).reshape(size, factors, factors))
    residual = (x - loc) / scale * seen
    covariance = torch.cholesky_inverse(root)
    projected = residual @ unit
    mean = (covariance @ projected[..., None]).squeeze(-1)
    square = residual.square().sum(1) - (projected * mean).sum(1)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(1)
    constant = seen @ (2 * scale.log() + math.log(2 * math.pi))
    return mean, covariance, -0.5 * (square + log_det + constant)


def _maximised(
    x: Tensor, seen: Tensor, mean: Tensor, covariance: Tensor, least: float, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The parameters with the highest expected log p(x_observed, z): a regression of each column on z and 1.

    Without a ridge z is then scaled to a variance of 1, the expansion of PX-EM; the penalty would not allow that.
    """
    size, factors = mean.shape
    z = torch.cat([mean, torch.ones_like(mean[:, :1])], 1)
    second = z[:, :, None] * z[:, None, :]
    second[:, :factors, :factors] += covariance
    moments = (seen.T @ second.flatten(1)).unflatten(1, second.shape[1:])
    eye = 1e-9 * torch.eye(factors + 1, dtype=x.dtype, device=x.device)
    shrunk = ridge * torch.eye(factors + 1, dtype=x.dtype, device=x.device)
    shrunk[-1, -1] = 0  # not the location
    weights = torch.linalg.solve(moments + eye * size + shrunk, (x.T @ z)[..., None]).squeeze(-1)
    count = seen.sum(0).clamp_min(1)
    variance = ((x * x).sum(0) - (weights * (x.T @ z)).sum(1)) / count
    loc, loadings = weights[:, -1], weights[:, :-1]
    center, scale = mean.mean(0), variance.clamp_min(least**2).sqrt()
    if ridge:
        return loc + loadings @ center, loadings, scale
    expanded = covariance.mean(0) + (mean - center).T @ (mean - center) / size
    return loc + loadings @ center, loadings @ torch.linalg.cholesky(expanded), scale


def _canonical(loadings: Tensor, scale: Tensor) -> Tensor:
    """The rotation in which the factors are independent given all of x, the largest first."""
    unit = loadings / scale[:, None]
    _, vectors = torch.linalg.eigh(unit.T @ unit)
    return loadings @ vectors.flip(1)
