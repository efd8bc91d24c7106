"""Callbacks see each epoch after its checkpoint, leave the training as it was, and may stop it."""

import pyro
import pytest
import torch

from pyrovae.errors import SettingError
from pyrovae.inference import EpochReport, StopTraining, evaluate, generate
from pyrovae.inference.training.checkpoint import load


def test_a_callback_sees_each_row_after_the_checkpoint(tmp_path, table_pair, split, quick):
    seen = []

    def see(report):
        rows = load(tmp_path / "checkpoint.pt")["history"]["rows"]
        seen.append((report.epoch, report.row, rows[-1], report.folder))
        assert report.history.rows == tuple(rows)

    model, guide = table_pair()
    history = quick(model, guide, split(), epochs=3, run=tmp_path, callbacks=[see])
    assert seen == [(epoch, row, row, tmp_path) for epoch, row in enumerate(history.rows, 1)]


def test_a_report_has_what_a_picture_needs(table_pair, split, quick):
    reports = []
    model, guide = table_pair()
    data = split()
    quick(model, guide, data, epochs=1, callbacks=[reports.append], clip_norm=5.0)
    (report,) = reports
    assert isinstance(report, EpochReport)
    assert (report.model, report.guide, report.folder) == (model, guide, None)
    assert torch.equal(report.data["x"], data.valid["x"])
    assert report.settings["seed"] == 0
    assert report.settings["clip_norm"] == 5.0
    assert report.settings["model"] == "pyrovae.models.vae.VAE"
    with pytest.raises(AttributeError):
        report.folder = "elsewhere"


def test_without_validation_data_a_report_has_some_training_data(table_pair, table, quick):
    reports = []
    data = table(600)
    quick(*table_pair(), data, epochs=1, callbacks=[reports.append])
    assert torch.equal(reports[0].data["x"], data["x"][:500])


def test_callbacks_disturb_neither_random_numbers_nor_modes_nor_results(tmp_path, table_pair, split, quick, state_of):
    def disturb(report):
        torch.manual_seed(99)
        torch.randn(17)
        report.model.eval()
        report.guide.eval()
        generate(report.model, 3)
        evaluate(report.model, report.guide, report.data, num_samples=3)
        report.row["loss"] = 0.0

    modes = []

    def look(report):
        modes.append((report.model.training, report.guide.training))

    quick(*table_pair(), split(), epochs=3, run=tmp_path / "alone")
    quick(*table_pair(), split(), epochs=3, run=tmp_path / "seen", callbacks=[disturb, look])
    alone, seen = (state_of(tmp_path / name) for name in ("alone", "seen"))
    assert modes == [(True, True)] * 3
    assert alone["history"] == seen["history"]
    assert torch.equal(alone["rng"], seen["rng"])
    for name, part in alone["weights"].items():
        assert str(part) == str(seen["weights"][name])
    assert len(pyro.get_param_store()) == 0


def test_a_callback_stops_the_training_and_a_resume_goes_on(tmp_path, table_pair, split, quick, weights, equal):
    def stop(report):
        if report.epoch == 2:
            raise StopTraining("enough")

    seen = []
    through = table_pair()
    whole = quick(*through, split(), epochs=4)
    history = quick(*table_pair(), split(), epochs=4, run=tmp_path, callbacks=[stop, seen.append])
    assert (len(history.rows), history.stopped) == (2, "callback")
    assert [report.epoch for report in seen] == [1, 2]  # the ones after it see the epoch too
    assert load(tmp_path / "checkpoint.pt")["history"]["stopped"] == "callback"
    assert "stopped by callback" in str(history)
    second = table_pair(seed=8)
    resumed = quick(*second, split(), epochs=4, run=tmp_path, resume=True)
    assert (resumed.rows, resumed.stopped) == (whole.rows, "epochs")
    assert equal(weights(*second), weights(*through))


def test_a_training_that_a_callback_stopped_ends_with_its_best_weights(table_pair, split, quick):
    def stop(report):
        if report.epoch == 3:
            raise StopTraining

    model, guide = table_pair()
    history = quick(
        model, guide, split(), epochs=9, patience=9, callbacks=[stop], optim=(torch.optim.Adam, {"lr": 0.5})
    )
    best = history.rows[history.best_epoch - 1]["elbo"]
    assert evaluate(model, guide, split().valid, num_samples=1).elbo.value == pytest.approx(best, abs=1e-4)


def test_an_error_of_a_callback_is_raised_as_itself_and_loses_nothing(tmp_path, table_pair, split, quick):
    class BrokenError(Exception):
        pass

    def fail(report):
        if report.epoch == 2:
            raise BrokenError("no disk")

    with pytest.raises(BrokenError, match="no disk"):
        quick(*table_pair(), split(), epochs=4, run=tmp_path, callbacks=[fail])
    resumed = quick(*table_pair(), split(), epochs=4, run=tmp_path, resume=True)
    assert resumed.rows == quick(*table_pair(), split(), epochs=4).rows


def test_a_context_manager_is_entered_around_the_training(table_pair, table, quick):
    said = []

    class Around:
        def __enter__(self):
            said.append("begin")

        def __exit__(self, kind, error, trace):
            said.append(kind)

        def __call__(self, report):
            said.append(report.epoch)
            if report.epoch == 2:
                raise KeyError("x")

    with pytest.raises(KeyError):
        quick(*table_pair(), table(), epochs=3, callbacks=[Around()])
    quick(*table_pair(), table(), epochs=1, callbacks=(Around(),))
    assert said == ["begin", 1, 2, KeyError, "begin", 1, None]


@pytest.mark.parametrize("wrong", [lambda report: None, "tensorboard", {1}, [None], ["tensorboard"]])
def test_callbacks_that_are_no_list_of_functions_are_refused(wrong, table_pair, table, quick):
    with pytest.raises(SettingError, match=r"callbacks requires .* Write callbacks=\["):
        quick(*table_pair(), table(), callbacks=wrong)
