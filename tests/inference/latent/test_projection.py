"""Maps of codes to the plane."""

import sys

import pytest
import torch

from pyrovae.errors import DataError, MissingExtraError, PyrovaeError, ShapeError
from pyrovae.inference.latent.projection import embed, principal_plane


def clouds():
    """Two clouds of codes, far from each other."""
    return [torch.randn(30, 6), torch.randn(25, 6) + 40]


def test_many_dimensions_are_seen_along_their_principal_axes():
    z = torch.randn(500, 5) * torch.tensor([0.1, 10.0, 0.1, 3.0, 0.1]) + 100
    plane = principal_plane(z)
    points = plane.project(z)
    torch.testing.assert_close(points.var(0), z[:, [1, 3]].var(0), rtol=0.05, atol=0)
    torch.testing.assert_close(points.mean(0), torch.zeros(2), rtol=0, atol=1e-3)
    assert points.T.corrcoef()[0, 1].abs() < 1e-3
    share = z[:, 1].var() / z.var(0).sum()
    assert plane.axes[0] == f"principal axis 1 ({share:.0%} of variance)"
    assert plane.axes[1].startswith("principal axis 2 (")


def test_what_lies_in_the_plane_is_lifted_back():
    z = torch.randn(20, 2).double() @ torch.randn(2, 7).double() + 3
    plane = principal_plane(z)
    torch.testing.assert_close(plane.directions @ plane.directions.T, torch.eye(2).double())
    torch.testing.assert_close(plane.lift(plane.project(z)), z)


def test_axes_have_one_direction():
    z = torch.randn(40, 4) * torch.tensor([1.0, 9.0, 1.0, 3.0])
    flipped = principal_plane(z.flip(0))
    torch.testing.assert_close(flipped.project(z), principal_plane(z).project(z), rtol=1e-3, atol=1e-3)
    assert (flipped.directions[0, 1] > 0) & (flipped.directions[1, 3] > 0)


def test_two_dimensions_are_their_own_plane():
    z = torch.randn(9, 2)
    plane = principal_plane(z)
    assert torch.equal(plane.project(z), z)
    assert plane.axes == ("z₁", "z₂")
    assert repr(plane) == "a plane of codes with 2 dimensions; axes: z₁, z₂"


@pytest.mark.parametrize("z", [torch.zeros(4, 3), torch.randn(1, 5), torch.randn(2, 5)])
def test_codes_without_two_axes_still_have_a_plane(z):
    plane = principal_plane(z)
    assert plane.project(z).shape == (len(z), 2)
    assert plane.project(z).isfinite().all()
    assert not any("nan" in name for name in plane.axes)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 2, 2), (0, 2)])
def test_what_is_no_codes(shape, says):
    for make in (principal_plane, lambda z: embed([z], "tsne")):
        with says(ShapeError, "(N, D) with N > 0 and D >= 2", str(shape)):
            make(torch.zeros(shape))


def test_codes_that_are_not_finite(says):
    z = torch.randn(9, 3)
    z[2, 1] = torch.nan
    for make in (principal_plane, lambda z: embed([z], "tsne")):
        with says(DataError, "requires finite numbers", "1 NaN"):
            make(z)
        with says(DataError, "requires a tensor of real numbers"):
            make([[1.0, 2.0]])


@pytest.mark.parametrize(("method", "module"), [("tsne", "sklearn"), ("umap", "umap")])
def test_what_is_apart_stays_apart(method, module):
    pytest.importorskip(module)
    one, two = embed(clouds(), method, seed=3)
    assert (one.shape, two.shape) == ((30, 2), (25, 2))
    assert torch.cdist(one, two).min() > max(torch.cdist(z, z.mean(0, True)).median() for z in (one, two))


@pytest.mark.parametrize(("method", "module"), [("tsne", "sklearn.manifold"), ("umap", "umap")])
def test_a_package_that_is_not_there(method, module, monkeypatch, says):
    monkeypatch.setitem(sys.modules, module, None)
    with says(MissingExtraError, "which is not installed", "pip install 'pyrovae[maps]'"):
        embed(clouds(), method)


def test_other_maps(says):
    with says(PyrovaeError, "'tsne' or 'umap'", "'isomap'"):
        embed(clouds(), "isomap")
    with says(ShapeError, "at least 4 codes", "method='pca'"):
        embed([torch.zeros(3, 2)], "tsne")
