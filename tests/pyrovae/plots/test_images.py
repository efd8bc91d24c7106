"""Pictures of images: each pixel, title and name is where it should be."""

import pytest
import torch
from matplotlib.figure import Figure

from pyrovae import plots
from pyrovae.errors import ShapeError


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


def test_a_mosaic_takes_any_dtype_and_gradient():
    images = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True).reshape(3, 1, 1, 1)
    assert plots.mosaic(images, 3, gap=0).flatten().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 4, 16], [0, 0.25, 1]),
        ([-1.0, 0.5, 2.0], [0, 0.5, 1]),
        ([0.25, 0.5, 0.75], [0.25, 0.5, 0.75]),
        ([-1.0, 0.0, 0.5], [0, 0.5, 0.75]),
        ([0, 51, 255], [0, 0.2, 1]),
        ([0.5, float("inf"), 2.0], [0.25, 1, 1]),
    ],
)
def test_values_outside_the_unit_interval_span_black_to_white(values, shown, picture):
    """Counts are no brackets of black and white: the rule of the report holds for every picture."""
    images = torch.tensor(values).reshape(3, 1, 1, 1)
    assert plots.mosaic(images, 3, gap=0).flatten().tolist() == pytest.approx(shown)
    many = images.expand(3, 1, 2, 2)
    for figure in (plots.grid(many), plots.paths(many[None]), plots.table(many[None])):
        assert picture(figure)[0, ::4].tolist() == pytest.approx(shown)


def test_reconstructions_are_shown_on_the_scale_of_their_originals(picture):
    originals, means = torch.tensor([0.0, 16.0]), torch.tensor([8.0, 20.0])
    shown = picture(plots.reconstructions(originals.reshape(2, 1, 1, 1), means.reshape(2, 1, 1, 1), columns=2))
    assert shown[::3, ::3].tolist() == [[0, 1], [0.5, 1]]


@pytest.mark.parametrize("shape", [(3, 4), (3, 28, 28), (3, 2, 4, 4), (0, 1, 4, 4), (2, 3, 1, 4, 4)])
def test_what_is_no_image(shape, says):
    with says(ShapeError, "(N, C, H, W)", "C = 1 or 3", str(shape)):
        plots.mosaic(torch.zeros(shape), 2)
    with says(ShapeError, "(N, C, H, W)"):
        plots.grid(torch.zeros(shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid(channels, picture, flat):
    figure = plots.grid(flat(7, channels), columns=4, title="seven")
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title(loc="left") == "seven"
    assert not figure.axes[0].axison
    shown = picture(figure).reshape(6, 4 * 5 - 2, channels)
    assert torch.equal(shown, plots.mosaic(flat(7, channels), 4))


def test_a_grid_is_no_wider_than_its_images(picture, flat):
    assert picture(plots.grid(flat(3))).shape == (2, 3 * 5 - 2)


def test_grey_is_shown_from_black_to_white(flat):
    (image,) = plots.grid(flat(3)).axes[0].images
    assert image.get_clim() == (0, 1)
    assert image.get_cmap().name == "gray"


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_each_reconstruction_is_under_its_original(count, picture, flat):
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


def test_reconstructions_of_another_shape(says, flat):
    with says(ShapeError, "(3, 1, 2, 3)", "(4, 1, 2, 3)"):
        plots.reconstructions(flat(3), flat(4))
    with says(ShapeError, "N > 0"):
        plots.reconstructions(flat(3)[:0], flat(3)[:0])


def test_paths_have_one_row_each(picture):
    images = torch.rand(2, 5, 1, 4, 4)
    figure = plots.paths(images, title="from one to the other")
    assert picture(figure).shape == (2 * 6 - 2, 5 * 6 - 2)
    assert torch.equal(picture(figure)[6:10, 6:10], images[1, 1, 0])
    assert figure.axes[0].get_title(loc="left") == "from one to the other"


def test_a_table_names_its_rows_and_columns(flat):
    figure = plots.table(flat(6).unflatten(0, (2, 3)), rows=["one", "two"], columns=["a", "b", "c"], title="greys")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_title("left") == "greys"


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 4, 4), (2, 3, 2, 4, 4), (0, 3, 1, 4, 4)])
def test_rows_that_are_no_images(shape, says):
    images = torch.zeros(shape)
    for draw in (plots.paths, lambda images: plots.attribute(images, (0, 1))):
        with says(ShapeError, "(R, T, C, H, W)", str(shape), "print or plot their numbers"):
            draw(images)
