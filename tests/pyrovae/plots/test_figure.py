"""Figures: they are written whole, and matplotlib is imported when one is made."""

import subprocess
import sys

import pytest
import torch
from matplotlib import image
from matplotlib.figure import Figure

from pyrovae import plots
from pyrovae.errors import MissingExtraError


def test_nothing_is_cut_off_at_the_edges(tmp_path):
    """Where layout needs more than one pass."""
    z, y = torch.randn(50, 2), torch.arange(50) % 10
    images, t = torch.zeros(10, 9, 1, 28, 28), torch.linspace(-2, 2, 9)
    for figure in (
        plots.latent_map(z, y, posterior=z, prior=z, axes=("a", "b")),
        plots.traversals(images, range(10, 20), torch.ones(10), t),
    ):
        plots.save(figure, tmp_path / "a.png")
        pixels = torch.as_tensor(image.imread(tmp_path / "a.png"))
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 1).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.grid(torch.rand(5, 1, 2, 3)),
        lambda: plots.reconstructions(torch.rand(5, 3, 2, 3), torch.rand(5, 3, 2, 3)),
        lambda: plots.paths(torch.rand(2, 5, 1, 4, 4)),
        lambda: plots.manifold(torch.rand(9, 1, 2, 3), extent=2),
        lambda: plots.latent_map(torch.randn(9, 2), torch.arange(9) % 3),
        lambda: plots.traversals(torch.rand(2, 3, 1, 4, 4), [0, 1], torch.rand(2), torch.arange(3.0)),
        lambda: plots.attribute(torch.rand(2, 3, 1, 4, 4), (0, 1, 2)),
        lambda: plots.neighbours(torch.rand(2, 1, 4, 4), torch.rand(2, 3, 1, 4, 4), torch.rand(2, 3)),
        lambda: plots.curves([{"epoch": 1, "loss": 5.0, "elbo": -4.0, "rate": 1.0, "distortion": 3.0}]),
        lambda: plots.piano_rolls({"one": torch.rand(4, 88)}),
    ],
)
def test_figures_are_saved_as_png(make, tmp_path):
    figure = make()
    assert isinstance(figure, Figure)
    plots.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_import_needs_no_matplotlib_and_figures_no_pyplot():
    code = (
        "import sys, torch, pyrovae.plots as plots; assert 'matplotlib' not in sys.modules; "
        "plots.grid(torch.rand(3, 1, 4, 4)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_a_missing_matplotlib_is_named(monkeypatch, says):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with says(MissingExtraError, "pyrovae.plots requires matplotlib", "pip install 'matplotlib'"):
        plots.grid(torch.rand(3, 1, 4, 4))
