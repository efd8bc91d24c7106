"""A bar is shown when asked for, and starts where a resumed run does."""

import pytest

from pyrovae.inference.pair.progress import progress_bar


@pytest.mark.parametrize("progress", [True, False])
def test_it_is_shown_when_asked_for(progress, capsys):
    with progress_bar(progress, 4, "chunk") as bar:
        bar.update(4)
    shown = capsys.readouterr().err
    assert ("4/4" in shown and "chunk" in shown) is progress
    assert progress or not shown


def test_it_starts_where_a_resumed_run_does(capsys):
    with progress_bar(True, 10, "step", initial=7) as bar:
        bar.update(1)
        assert bar.n == 8
    assert "7/10" in capsys.readouterr().err
