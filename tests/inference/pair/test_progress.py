"""The progress bar: what it counts, and when it is shown."""

import pytest

from pyrovae.inference.pair.progress import progress_bar


def test_it_counts_from_where_the_work_was(capsys):
    with progress_bar(True, 10, "step", 4) as bar:
        bar.update(3)
        bar.set_postfix_str("loss 1.00")
        assert (bar.n, bar.total, bar.unit) == (7, 10, "step")
    shown = capsys.readouterr().err
    assert "7/10" in shown
    assert "loss 1.00" in shown


@pytest.mark.parametrize("initial", [0, 2])
def test_it_is_silent_when_not_asked_for(initial, capsys):
    with progress_bar(False, 10, "chunk", initial) as bar:
        bar.update(1)
        bar.set_postfix_str("loss 1.00")
    assert capsys.readouterr() == ("", "")
