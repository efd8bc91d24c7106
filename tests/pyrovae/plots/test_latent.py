"""Pictures of the latent space: points, names and axes."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError


def test_a_manifold_has_its_axes_in_the_latents_units(picture, flat):
    images = flat(9)
    figure = plots.manifold(images, extent=2.5)
    (axes,) = figure.axes
    assert torch.equal(picture(figure), plots.mosaic(images, 3, gap=0).squeeze(-1))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-2.5", "0", "2.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2.5", "0", "-2.5"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")
    assert axes.axison


def test_the_ticks_of_a_manifold_are_at_its_edges(flat):
    """Also where images are not square."""
    (axes,) = plots.manifold(flat(9, size=(2, 4)), extent=1.0).axes
    assert list(axes.get_xticks()) == [-0.5, 5.5, 11.5]
    assert list(axes.get_yticks()) == [-0.5, 2.5, 5.5]


def test_a_manifold_is_square(says, flat):
    with says(ShapeError, "n * n", "got 8"):
        plots.manifold(flat(8), extent=2)


def test_traversals_are_named_by_dimension_and_rate(labels):
    images = torch.rand(2, 3, 1, 4, 5)
    (axes,) = plots.traversals(
        images, [7, 0], torch.tensor([1.234, 0.0]), torch.tensor([-1.5, 0, 1.5]), latent="z2"
    ).axes
    assert axes.get_title(loc="left") == "one dimension of z2 at a time, by rate"
    assert labels(axes.get_yticklabels()) == ["z2[7]   1.23 nats", "z2[0]   0.00 nats"]
    assert labels(axes.get_xticklabels()) == ["-1.5", "0", "1.5"]
    assert (list(axes.get_xticks()), list(axes.get_yticks())) == ([2, 9, 16], [1.5, 7.5])  # the middles of the images
    assert "standard deviations" in axes.get_xlabel()
    (axes,) = plots.traversals(images, [0, 1], torch.tensor([torch.nan, torch.inf]), torch.zeros(3)).axes
    assert labels(axes.get_yticklabels()) == ["z[0]", "z[1]"]  # no rate, of a point mass or under an improper prior
    assert torch.equal(torch.as_tensor(axes.images[0].get_array()), plots.mosaic(images.flatten(0, 1), 3).squeeze(-1))


def test_an_attribute_is_named_by_its_strengths(labels):
    (axes,) = plots.attribute(torch.rand(2, 3, 3, 4, 4), (-1, 0, 0.5), name="smile").axes
    assert axes.get_title(loc="left") == "along the direction of smile"
    assert labels(axes.get_xticklabels()) == ["-1", "0", "0.5"]
    assert "strength" in axes.get_xlabel()


def test_neighbours_have_their_distances_under_them(labels):
    queries, found = torch.rand(2, 1, 10, 4), torch.rand(2, 3, 1, 10, 4)
    distance = torch.tensor([[0.0, 1.0, 2.5], [0.125, 3.0, 4.0]])
    (axes,) = plots.neighbours(queries, found, distance).axes
    assert labels(axes.get_xticklabels()) == ["query", "1", "2", "3"]
    assert [text.get_text() for text in axes.texts] == ["0.00", "1.00", "2.50", "0.12", "3.00", "4.00"]
    shown = torch.as_tensor(axes.images[0].get_array())
    assert torch.equal(shown[:10, :4], queries[0, 0])
    assert torch.equal(shown[13:23, 14:18], found[1, 1, 0])
    assert axes.texts[4].get_position() == (15.5, 23)


def test_neighbours_that_do_not_belong_together(says):
    with says(ShapeError, "(2, 1, 4, 4)", "(2, 3, 1, 4, 4)", "(2, 2)", "near.distance"):
        plots.neighbours(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 1, 4, 4), torch.zeros(2, 2))


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


@pytest.mark.parametrize(("count", "columns"), [(2, 1), (10, 1), (11, 1), (26, 2), (41, 0)])
def test_labels_of_one_map_never_share_a_colour(count, columns):
    mean, y = torch.randn(2 * count, 2), torch.arange(count).repeat(2)
    axes = plots.latent_map(mean, y).axes[0]
    assert len({tuple(points.get_facecolor()[0]) for points in axes.collections}) == count
    assert len(axes.collections) == count
    legend = axes.get_legend()
    assert (legend._ncols if legend else 0) == columns


def test_what_is_no_map(says):
    for shape in ((5,), (5, 3), (5, 2, 2)):
        with says(ShapeError, "points (N, 2)", str(shape), "inference.latent_map"):
            plots.latent_map(torch.zeros(shape))
    with says(ShapeError, "points (N, 2)", "(7, 3)"):
        plots.latent_map(torch.zeros(5, 2), prior=torch.zeros(7, 3))
    with says(ShapeError, "one label for each", "(5, 2)", "(4,)"):
        plots.latent_map(torch.zeros(5, 2), torch.zeros(4))
