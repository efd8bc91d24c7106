"""Training curves, and lines with errors."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import SettingError, ShapeError


def rows(*, validated):
    more = [{"elbo": -4.0, "rate": 1.0, "distortion": 3.0}, {"elbo": -3.0, "rate": 1.5, "distortion": 1.5}]
    return [{"epoch": i + 1, "loss": 5.0 - i} | (more[i] if validated else {}) for i in range(2)]


def test_curves_of_a_validated_run():
    figure = plots.curves(rows(validated=True))
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == ["loss", "rate", "distortion"]
    lines = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert lines == [[[5, 4], [4, 3]], [[1, 1.5]], [[3, 1.5]]]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["training", "validation, -ELBO"]
    assert all(axes.get_ylabel() == "nats per data point" for axes in figure.axes)
    assert all(line.get_xdata().tolist() == [1, 2] for axes in figure.axes for line in axes.lines)


def test_rate_and_distortion_of_training_data_are_drawn_too():
    trained = [row | {"train_rate": 2.0, "train_distortion": 1.0} for row in rows(validated=True)]
    _, *parts = plots.curves(trained).axes
    assert [[line.get_ydata().tolist() for line in axes.lines] for axes in parts] == [
        [[2, 2], [1, 1.5]],
        [[1, 1], [3, 1.5]],
    ]
    for axes in parts:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["some training data", "validation"]


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


def test_the_loss_of_each_step_and_its_moving_average():
    (axes,) = plots.step_losses(torch.arange(6.0), window=3).axes
    each, mean = (line.get_xydata().tolist() for line in axes.lines)
    assert each == [[i + 1, i] for i in range(6)]
    assert mean == [[3, 1], [4, 2], [5, 3], [6, 4]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["each step", "mean of 3 steps"]
    assert axes.get_ylabel() == "nats per data point"


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_losses_of_few_steps(steps, tmp_path):
    plots.save(plots.step_losses(torch.ones(steps)), tmp_path / "a.png")


def test_losses_that_are_no_vector_are_refused():
    with pytest.raises(ShapeError):
        plots.step_losses(torch.ones(2, 2))
    with pytest.raises(SettingError):
        plots.step_losses(torch.ones(2), window=0)


def test_lines_have_names_units_and_errors():
    series = {"VAE": ([1, 2], [0.5, 0.25]), "PCA": ([1, 2], [0.75, 0.5], [0.1, 0.2])}
    (axes,) = plots.lines(series, x="rate, bits", y="error").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["VAE", "PCA"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rate, bits", "error")
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    bars = axes.containers[1].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx([0.65, 0.85]), pytest.approx([0.3, 0.7])]
