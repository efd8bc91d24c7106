"""Bars of the words of topics."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import SettingError, ShapeError


def test_each_topic_has_its_words_longest_first():
    probs = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]])
    first, second = plots.topic_bars(probs, ["a", "b", "c"], num_words=2, titles=["one", "two"]).axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["b", "c"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["a", "c"]
    assert [bar.get_width() for bar in first.patches] == pytest.approx([0.6, 0.3])
    assert first.get_title(loc="left") == "one"


def test_panels_without_a_topic_are_empty():
    axes = plots.topic_bars(torch.rand(7, 3), ["a", "b", "c"], num_words=3).axes
    assert len(axes) == 10
    assert [panel.axison for panel in axes] == [True] * 7 + [False] * 3


def test_what_does_not_fit_together(says):
    with says(ShapeError, "(K, V)", "(3,)"):
        plots.topic_bars(torch.rand(3), ["a", "b", "c"])
    with says(ShapeError, "words", "3"):
        plots.topic_bars(torch.rand(2, 3), ["a"])
    with says(ShapeError, "titles", "2"):
        plots.topic_bars(torch.rand(2, 3), ["a", "b", "c"], num_words=2, titles=["one"])
    with says(SettingError, "num_words", "4"):
        plots.topic_bars(torch.rand(2, 3), ["a", "b", "c"], num_words=4)
