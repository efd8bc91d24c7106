"""Pictures: a Figure each, with the axes, labels and pixels that it should have."""

import subprocess
import sys

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError

Figure = pytest.importorskip("matplotlib.figure").Figure


def picture(figure):
    """The pixels that a figure of one picture shows."""
    (axes,) = figure.axes
    (image,) = axes.images
    return torch.as_tensor(image.get_array())


def flat(count, channels=1, size=(2, 3)):
    """Images that are each of one grey, 1/2N, 3/2N, ..."""
    return ((torch.arange(count) + 0.5) / count).reshape(-1, 1, 1, 1).expand(count, channels, *size)


# -------------------------------------------------------------------------------------------- mosaics


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mosaic_places_each_pixel(channels):
    images = torch.rand(5, channels, 2, 3)
    sheet = plots.mosaic(images, 3, gap=1)
    assert sheet.shape == (2 * 2 + 1, 3 * 3 + 2, channels)
    expected = torch.ones_like(sheet)
    for i, (top, left) in enumerate([(0, 0), (0, 4), (0, 8), (3, 0), (3, 4)]):
        for row in range(2):
            for column in range(3):
                expected[top + row, left + column] = images[i, :, row, column]
    assert torch.equal(sheet, expected)


def test_a_mosaic_without_gaps_is_the_images_side_by_side():
    images = torch.rand(4, 1, 2, 3)
    sheet = plots.mosaic(images, 2, gap=0).squeeze(-1)
    assert torch.equal(sheet, torch.cat([torch.cat(list(row), -1) for row in images.squeeze(1).split(2)]))


def test_a_mosaic_clamps_and_takes_any_dtype_and_gradient():
    images = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True).reshape(3, 1, 1, 1)
    assert plots.mosaic(images, 3, gap=0).flatten().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("shape", [(3, 4), (3, 28, 28), (3, 2, 4, 4), (0, 1, 4, 4), (2, 3, 1, 4, 4)])
def test_what_is_no_image(shape, says):
    with says(ShapeError, "(N, C, H, W)", "C = 1 or 3", str(shape)):
        plots.mosaic(torch.zeros(shape), 2)
    with says(ShapeError, "(N, C, H, W)"):
        plots.grid(torch.zeros(shape))


# --------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid(channels):
    figure = plots.grid(flat(7, channels), columns=4, title="seven")
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title(loc="left") == "seven"
    assert not figure.axes[0].axison
    shown = picture(figure).reshape(6, 4 * 5 - 2, channels)
    assert torch.equal(shown, plots.mosaic(flat(7, channels), 4))


def test_a_grid_is_no_wider_than_its_images():
    assert picture(plots.grid(flat(3))).shape == (2, 3 * 5 - 2)


def test_grey_is_shown_from_black_to_white():
    (image,) = plots.grid(flat(3)).axes[0].images
    assert image.get_clim() == (0, 1)
    assert image.get_cmap().name == "gray"


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_each_reconstruction_is_under_its_original(count):
    originals = flat(count)
    shown = picture(plots.reconstructions(originals, originals / 2, columns=4))
    columns = min(count, 4)
    assert shown.shape == (2 * -(-count // 4) * 4 - 2, columns * 5 - 2)
    for i in range(count):
        top, left = (i // columns) * 8, (i % columns) * 5
        assert shown[top, left] == originals[i, 0, 0, 0]
        assert shown[top + 4, left] == originals[i, 0, 0, 0] / 2
    for i in range(count, columns * -(-count // columns)):
        assert shown[(i // columns) * 8, (i % columns) * 5] == 1


def test_reconstructions_of_another_shape(says):
    with says(ShapeError, "(3, 1, 2, 3)", "(4, 1, 2, 3)"):
        plots.reconstructions(flat(3), flat(4))
    with says(ShapeError, "N > 0"):
        plots.reconstructions(flat(3)[:0], flat(3)[:0])


def test_paths_have_one_row_each():
    images = torch.rand(2, 5, 1, 4, 4)
    figure = plots.paths(images, title="from one to the other")
    assert picture(figure).shape == (2 * 6 - 2, 5 * 6 - 2)
    assert torch.equal(picture(figure)[6:10, 6:10], images[1, 1, 0])
    assert figure.axes[0].get_title(loc="left") == "from one to the other"


def test_a_manifold_has_its_axes_in_the_latents_units():
    images = flat(9)
    figure = plots.manifold(images, extent=2.5)
    (axes,) = figure.axes
    assert torch.equal(picture(figure), plots.mosaic(images, 3, gap=0).squeeze(-1))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-2.5", "0", "2.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2.5", "0", "-2.5"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")
    assert axes.axison


def test_the_ticks_of_a_manifold_are_at_its_edges():
    """Also where images are not square."""
    (axes,) = plots.manifold(flat(9, size=(2, 4)), extent=1.0).axes
    assert list(axes.get_xticks()) == [-0.5, 5.5, 11.5]
    assert list(axes.get_yticks()) == [-0.5, 2.5, 5.5]


def test_a_manifold_is_square(says):
    with says(ShapeError, "n * n", "got 8"):
        plots.manifold(flat(8), extent=2)


# --------------------------------------------------------------------------------------------- latents


def test_a_scatter_of_a_plane_shows_the_codes():
    z = torch.randn(20, 2)
    figure = plots.latent_scatter(z)
    (axes,) = figure.axes
    (points,) = axes.collections
    torch.testing.assert_close(torch.as_tensor(points.get_offsets().data).float(), z)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")
    assert axes.get_legend() is None


@pytest.mark.parametrize(("classes", "expected"), [(None, ["0", "2"]), (("cat", "dog", "fox"), ["cat", "fox"])])
def test_a_scatter_by_label(classes, expected):
    z, y = torch.randn(20, 2), torch.tensor([0, 2]).repeat(10)
    (axes,) = plots.latent_scatter(z, y, classes=classes).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
    assert len(axes.collections) == 2
    torch.testing.assert_close(torch.as_tensor(axes.collections[1].get_offsets().data).float(), z[y == 2])
    colours = {tuple(points.get_facecolor()[0]) for points in axes.collections}
    assert len(colours) == 2


def test_ten_classes_have_ten_colours_and_more_have_no_legend():
    assert len(set(plots.PALETTE)) == 10
    (axes,) = plots.latent_scatter(torch.randn(30, 2), torch.arange(30) % 11).axes
    assert axes.get_legend() is None
    assert len(axes.collections) == 11


def test_many_dimensions_are_shown_by_their_principal_axes():
    z = torch.randn(500, 5) * torch.tensor([0.1, 10.0, 0.1, 3.0, 0.1]) + 100
    points, names = plots.plane(z)
    torch.testing.assert_close(points.var(0), z[:, [1, 3]].var(0), rtol=0.05, atol=0)
    torch.testing.assert_close(points.mean(0), torch.zeros(2), rtol=0, atol=1e-3)
    assert points.T.corrcoef()[0, 1].abs() < 1e-3
    share = z[:, 1].var() / z.var(0).sum()
    assert names[0] == f"principal axis 1 ({share:.0%} of variance)"
    assert names[1].startswith("principal axis 2 (")


@pytest.mark.parametrize("z", [torch.zeros(4, 3), torch.randn(1, 5), torch.randn(2, 5)])
def test_codes_without_two_axes_are_still_shown(z):
    points, names = plots.plane(z)
    assert points.shape == (len(z), 2)
    assert points.isfinite().all()
    assert not any("nan" in name for name in names)


def test_what_is_no_plane(says):
    for shape in ((5,), (5, 1), (5, 2, 2)):
        with says(ShapeError, "(N, D) with D >= 2", str(shape)):
            plots.latent_scatter(torch.zeros(shape))
    with says(ShapeError, "one label for each code", "(5, 2)", "(4,)"):
        plots.latent_scatter(torch.zeros(5, 2), torch.zeros(4))


# --------------------------------------------------------------------------------------------- curves


def rows(*, validated):
    more = [{"elbo": -4.0, "rate": 1.0, "distortion": 3.0}, {"elbo": -3.0, "rate": 1.5, "distortion": 1.5}]
    return [{"epoch": i + 1, "loss": 5.0 - i} | (more[i] if validated else {}) for i in range(2)]


def test_curves_of_a_validated_run():
    figure = plots.curves(rows(validated=True))
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == ["loss", "rate", "distortion"]
    lines = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert lines == [[[5, 4], [4, 3]], [[1, 1.5]], [[3, 1.5]]]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["training", "validation, -ELBO"]
    assert all(axes.get_ylabel() == "nats per datum" for axes in figure.axes)
    assert all(line.get_xdata().tolist() == [1, 2] for axes in figure.axes for line in axes.lines)


def test_curves_of_training_alone():
    (axes,) = plots.curves(rows(validated=False)).axes
    (line,) = axes.lines
    assert line.get_ydata().tolist() == [5, 4]
    assert axes.get_legend() is None


def test_curves_of_another_objective():
    """The ELBO is drawn beside the objective where the two differ."""
    trained = [row | {"train_elbo": -row["loss"] - 1} for row in rows(validated=False)]
    (axes,) = plots.curves(trained).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[5, 4], [6, 5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "training, -ELBO"]
    (axes,) = plots.curves([row | {"train_elbo": -row["loss"]} for row in trained]).axes
    assert len(axes.lines) == 1


@pytest.mark.parametrize("history", [[], rows(validated=True)[:1]])
def test_curves_of_a_short_run(history, tmp_path):
    plots.save(plots.curves(history), tmp_path / "a.png")


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.grid(flat(5)),
        lambda: plots.reconstructions(flat(5, 3), flat(5, 3)),
        lambda: plots.paths(torch.rand(2, 5, 1, 4, 4)),
        lambda: plots.manifold(flat(9), extent=2),
        lambda: plots.latent_scatter(torch.randn(9, 4), torch.arange(9) % 3),
        lambda: plots.curves(rows(validated=True)),
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
