"""Pictures: a Figure each, with the axes, labels and pixels that it should have."""

import subprocess
import sys

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError

Figure = pytest.importorskip("matplotlib.figure").Figure
image = pytest.importorskip("matplotlib.image")


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


def labels(ticks):
    return [label.get_text() for label in ticks]


def test_traversals_are_named_by_dimension_and_rate():
    images = torch.rand(2, 3, 1, 4, 5)
    (axes,) = plots.traversals(images, [7, 0], torch.tensor([1.234, 0.0]), torch.tensor([-1.5, 0, 1.5]), site="z2").axes
    assert axes.get_title(loc="left") == "one dimension of z2 at a time, by rate"
    assert labels(axes.get_yticklabels()) == ["z2[7]   1.23 nats", "z2[0]   0.00 nats"]
    assert labels(axes.get_xticklabels()) == ["-1.5", "0", "1.5"]
    assert (list(axes.get_xticks()), list(axes.get_yticks())) == ([2, 9, 16], [1.5, 7.5])  # the middles of the images
    assert "standard deviations" in axes.get_xlabel()
    (axes,) = plots.traversals(images, [0, 1], torch.tensor([torch.nan, torch.inf]), torch.zeros(3)).axes
    assert labels(axes.get_yticklabels()) == ["z[0]", "z[1]"]  # no rate, of a point mass or under an improper prior
    assert torch.equal(torch.as_tensor(axes.images[0].get_array()), plots.mosaic(images.flatten(0, 1), 3).squeeze(-1))


def test_an_attribute_is_named_by_its_strengths():
    (axes,) = plots.attribute(torch.rand(2, 3, 3, 4, 4), (-1, 0, 0.5), name="smile").axes
    assert axes.get_title(loc="left") == "along the direction of smile"
    assert labels(axes.get_xticklabels()) == ["-1", "0", "0.5"]
    assert "strength" in axes.get_xlabel()


def test_neighbours_have_their_distances_under_them():
    queries, found = torch.rand(2, 1, 10, 4), torch.rand(2, 3, 1, 10, 4)
    distance = torch.tensor([[0.0, 1.0, 2.5], [0.125, 3.0, 4.0]])
    (axes,) = plots.neighbours(queries, found, distance).axes
    assert labels(axes.get_xticklabels()) == ["datum", "1", "2", "3"]
    assert [text.get_text() for text in axes.texts] == ["0.00", "1.00", "2.50", "0.12", "3.00", "4.00"]
    shown = torch.as_tensor(axes.images[0].get_array())
    assert torch.equal(shown[:10, :4], queries[0, 0])
    assert torch.equal(shown[13:23, 14:18], found[1, 1, 0])
    assert axes.texts[4].get_position() == (15.5, 23)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 4, 4), (2, 3, 2, 4, 4), (0, 3, 1, 4, 4)])
def test_rows_that_are_no_images(shape, says):
    images = torch.zeros(shape)
    for draw in (plots.paths, lambda images: plots.attribute(images, (0, 1))):
        with says(ShapeError, "(R, T, C, H, W)", str(shape), "print or plot their numbers"):
            draw(images)


def test_neighbours_that_do_not_belong_together(says):
    with says(ShapeError, "(2, 1, 4, 4)", "(2, 3, 1, 4, 4)", "(2, 2)", "near.distance"):
        plots.neighbours(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 1, 4, 4), torch.zeros(2, 2))


def test_a_table_names_its_rows_and_columns():
    figure = plots.table(flat(6).unflatten(0, (2, 3)), rows=["one", "two"], columns=["a", "b", "c"], title="greys")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_title("left") == "greys"


def test_lines_have_names_units_and_errors():
    series = {"VAE": ([1, 2], [0.5, 0.25]), "PCA": ([1, 2], [0.75, 0.5], [0.1, 0.2])}
    (axes,) = plots.lines(series, x="rate, bits", y="error").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["VAE", "PCA"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rate, bits", "error")
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    bars = axes.containers[1].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx([0.65, 0.85]), pytest.approx([0.3, 0.7])]


def test_detection_draws_the_curves_of_roc_and_of_precision():
    scores = {"right": torch.tensor([3.0, 1.0, 4.0, 2.0]), "all the same": torch.zeros(4)}
    left, right = plots.detection(scores, torch.tensor([True, False, True, False]), title="four").axes
    assert left.lines[0].get_xydata().tolist() == [[0, 0], [0, 0.5], [0, 1], [0.5, 1], [1, 1]]
    assert left.lines[1].get_xydata().tolist() == [[0, 0], [1, 1]]  # equal scores are one threshold
    assert right.lines[0].get_xydata().tolist() == [[0.5, 1], [1, 1], [1, pytest.approx(2 / 3)], [1, 0.5]]
    assert [line.get_label() for line in left.lines[:2]] == ["right", "all the same"]


def test_detection_wants_both_kinds_and_a_score_of_each(says):
    with says(ShapeError, "some of them anomalous", "(3,)", "100%"):
        plots.detection({}, torch.ones(3, dtype=torch.bool))
    with says(ShapeError, "'few'", "(2,)", "(3,)"):
        plots.detection({"few": torch.zeros(2)}, torch.tensor([True, False, True]))


def test_heat_has_a_name_at_each_row_and_column():
    axes, bar = plots.heat(torch.tensor([[1.0, -3.0]]), rows=["a"], columns=["b", "c"], title="blame").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a"]
    assert axes.images[0].get_clim() == (-3, 3)
    assert bar.get_ylabel() == "nats"


def points(collection):
    return torch.as_tensor(collection.get_offsets().data).float()


def test_a_map_of_codes_alone():
    z = torch.randn(20, 2)
    (axes,) = plots.latent_map(z, axes=("z₁", "z₂")).axes
    (shown,) = axes.collections
    torch.testing.assert_close(points(shown), z)
    assert axes.get_title(loc="left") == "codes: the mean of q(z | x)"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")
    assert axes.get_legend() is None


@pytest.mark.parametrize(("classes", "expected"), [(None, ["0", "2"]), (("cat", "dog", "fox"), ["cat", "fox"])])
def test_a_map_by_label(classes, expected):
    z, y = torch.randn(20, 2), torch.tensor([0, 2]).repeat(10)
    (axes,) = plots.latent_map(z, y, classes=classes).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
    assert len(axes.collections) == 2
    torch.testing.assert_close(points(axes.collections[1]), z[y == 2])
    assert len({tuple(shown.get_facecolor()[0]) for shown in axes.collections}) == 2


def test_a_map_shows_the_aggregate_posterior_on_the_prior():
    mean, posterior, prior = torch.randn(20, 2), torch.randn(20, 2), 5 * torch.randn(30, 2)
    figure = plots.latent_map(mean, posterior=posterior, prior=prior, axes=("a", "b"))
    codes, draws = figure.axes
    assert draws.get_title(loc="left") == "draws of z"
    torch.testing.assert_close(points(draws.collections[0]), prior)
    torch.testing.assert_close(points(draws.collections[1]), posterior)
    assert [text.get_text()[:7] for text in figure.legends[0].get_texts()] == ["prior, ", "aggrega"]
    assert codes.get_xlim() == draws.get_xlim()  # so that the two can be compared
    (left, right), (low, high) = codes.get_xlim(), codes.get_ylim()
    assert right - left == pytest.approx(high - low)
    assert left < prior[:, 0].min() < prior[:, 0].max() < right
    assert low < prior[:, 1].min() < prior[:, 1].max() < high


def test_ten_classes_have_ten_colours_and_more_have_no_legend():
    assert len(set(plots.PALETTE)) == 10
    (axes,) = plots.latent_map(torch.randn(30, 2), torch.arange(30) % 11).axes
    assert axes.get_legend() is None
    assert len(axes.collections) == 11


def test_what_is_no_map(says):
    for shape in ((5,), (5, 3), (5, 2, 2)):
        with says(ShapeError, "points (N, 2)", str(shape), "inference.latent_map"):
            plots.latent_map(torch.zeros(shape))
    with says(ShapeError, "points (N, 2)", "(7, 3)"):
        plots.latent_map(torch.zeros(5, 2), prior=torch.zeros(7, 3))
    with says(ShapeError, "one label for each", "(5, 2)", "(4,)"):
        plots.latent_map(torch.zeros(5, 2), torch.zeros(4))


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


# ---------------------------------------------------------------------------------------------- piano rolls


def test_piano_rolls_have_time_to_the_right_and_keys_upwards():
    short, long = torch.zeros(2, 88), torch.zeros(5, 88)
    short[1, 39] = long[0, 51] = 1  # C4 and C5
    long[4, 45] = 0.5
    above, below = plots.piano_rolls({"short": short, "long": long}).axes
    pixels = torch.as_tensor(above.images[0].get_array())
    assert pixels.shape == (13, 2)  # from C4 to C5
    assert pixels.nonzero().tolist() == [[0, 1]]
    assert above.images[0].origin == "lower"
    assert [label.get_text() for label in above.get_yticklabels()] == ["C4", "C5"]
    assert (above.get_title(loc="left"), below.get_title(loc="left")) == ("short", "long")
    assert above.get_xlim() == below.get_xlim() == (0, 5)


def test_a_silent_roll_has_a_picture(tmp_path):
    plots.save(plots.piano_rolls({"silence": torch.zeros(1, 88)}), tmp_path / "a.png")


@pytest.mark.parametrize("rolls", [{}, {"a": torch.zeros(0, 88)}, {"a": torch.zeros(88)}])
def test_piano_rolls_of_another_shape_are_refused(rolls, says):
    with says(ShapeError, "(T, K)"):
        plots.piano_rolls(rolls)
    with says(ShapeError, "(2, 80)"):
        plots.piano_rolls({"a": torch.zeros(2, 88), "b": torch.zeros(2, 80)})


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.grid(flat(5)),
        lambda: plots.reconstructions(flat(5, 3), flat(5, 3)),
        lambda: plots.paths(torch.rand(2, 5, 1, 4, 4)),
        lambda: plots.manifold(flat(9), extent=2),
        lambda: plots.latent_map(torch.randn(9, 2), torch.arange(9) % 3),
        lambda: plots.traversals(torch.rand(2, 3, 1, 4, 4), [0, 1], torch.rand(2), torch.arange(3.0)),
        lambda: plots.attribute(torch.rand(2, 3, 1, 4, 4), (0, 1, 2)),
        lambda: plots.neighbours(torch.rand(2, 1, 4, 4), torch.rand(2, 3, 1, 4, 4), torch.rand(2, 3)),
        lambda: plots.curves(rows(validated=True)),
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
