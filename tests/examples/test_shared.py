"""What the examples share: flags, the schedule, training, the closing table, exit codes."""

import argparse
import ast
import json
import math
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from pyrovae import data
from pyrovae.errors import DataError, PyrovaeError
from pyrovae.examples import _shared as shared
from pyrovae.examples._shared.summary import plain
from pyrovae.guides import DeltaGuide, NormalGuide
from pyrovae.inference import Estimate, Linear
from pyrovae.inference.training.checkpoint import load, save
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

EXAMPLES = Path(__file__).parents[2] / "examples"


def flags_of(folder, *argv):
    p = shared.parser("An example.", out=str(folder), epochs=2)
    return p.parse_args(["--quiet", "--no-compile", "--batch-size", "20", "--num-samples", "10", *argv])


def dataset(size=50):
    x = torch.randn(size, 3, generator=torch.Generator().manual_seed(0))
    return data.Dataset({"x": x}, {"x": x[:10]}, {"x": x[:30]}, "normal", "drawn here")


def pair(guide=NormalGuide, outputs=4):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, "learned"), MLP(2, (3,), [4]))
    return model, guide(MLP((3,), outputs, [4])), data.Scale()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained pair and the flags that it was trained by."""
    torch.manual_seed(0)
    flags = flags_of(tmp_path_factory.mktemp("run"), "--evaluate", "20")
    return shared.train(*pair(), dataset(), flags), flags


# ----------------------------------------------------------------------------------------------------- flags


def test_flags_are_copied_and_left_alone(tmp_path):
    flags = flags_of(tmp_path, "--seed", "3")
    before = dict(vars(flags))
    own = shared.derive(flags, out=tmp_path / "own", epochs=0, resume=True)
    assert (own.out, own.epochs, own.resume, own.seed) == (tmp_path / "own", 0, True, 3)
    whole = shared.complete(flags, {"patience": 5, "seed": 1})
    assert (whole.patience, whole.seed) == (5, 3)
    assert vars(flags) == before


def test_flags_of_the_closing_table_are_left_out_where_there_is_none(tmp_path):
    assert "refine" in flags_of(tmp_path)
    assert "refine" not in shared.parser("An example.", out="runs/x", epochs=1, closing=False).parse_args([])


def test_the_mode_of_binarize_has_a_default():
    p = argparse.ArgumentParser()
    shared.add_binarize(p, default="static")
    assert p.parse_args([]).binarize == "static"


# -------------------------------------------------------------------------------------------------- training


def rates(scheduler, optimizer, epochs):
    """The learning rate of each epoch."""
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_cosine_falls_to_zero_and_a_constant_rate_has_no_scheduler():
    assert shared.schedule("constant", 4) is None
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = shared.schedule("cosine", 4)(optimizer)
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates(scheduler, optimizer, 4) == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == 0


def test_a_cosine_that_is_resumed_with_more_epochs_follows_theirs():
    optimizers = [torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1) for _ in range(3)]
    first, resumed, whole = (shared.schedule("cosine", n)(o) for n, o in zip((2, 6, 6), optimizers, strict=True))
    rates(first, optimizers[0], 2)
    resumed.load_state_dict(first.state_dict())
    assert rates(resumed, optimizers[1], 4) == pytest.approx(rates(whole, optimizers[2], 6)[2:])


def test_a_cosine_of_no_epochs_leaves_the_rate():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    shared.schedule("cosine", 0)(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_the_weight_of_the_rate_rises_in_steps(tmp_path):
    weigh = partial(shared.rising_weight, dataset(50), flags_of(tmp_path))  # three steps of at most 20 an epoch
    assert weigh(epochs=2, start=0.2) == Linear(0.2, 1.0, 6)
    assert weigh(epochs=0) == 1.0


def test_data_are_loaded_by_the_flags(table, tmp_path, capsys):
    loaded = shared.load_data(flags_of(tmp_path, "--data", table, "--valid", "7", "--test", "11"))
    assert [len(split["x"]) for split in loaded.splits.values()] == [82, 7, 11]
    assert capsys.readouterr().out == f"data    {loaded.describe()}\n"


def test_a_training_starts_at_another_run_and_its_time_is_kept(run, capsys):
    trained, flags = run
    start = shared.derive(flags, out=flags.out / "second", epochs=0, start=flags.out)
    again = shared.train(*pair(), dataset(), start)
    assert capsys.readouterr().out == "pair    VAE and NormalGuide, 64 parameters, on cpu\n"
    for old, new in zip(trained.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_tracker_of_the_flags_follows_the_training(tmp_path):
    pytest.importorskip("tensorboard")
    shared.train(*pair(), dataset(), flags_of(tmp_path, "--track", "tensorboard"))
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_time_of_a_run_that_was_stopped_counts(tmp_path):
    flags = flags_of(tmp_path)
    first = shared.train(*pair(), dataset(), flags)
    state = load(flags.out / "checkpoint.pt")
    save(flags.out / "checkpoint.pt", state | {"seconds": 1000.0})
    assert shared.train(*pair(), dataset(), shared.derive(flags, resume=True)).seconds > 1000 > first.seconds
    assert shared.train(*pair(), dataset(), shared.derive(flags, overwrite=True)).seconds < 1000


# ------------------------------------------------------------------------------------------ the closing table


def test_the_scored_data_are_the_first_ones(run):
    trained, flags = run
    assert len(shared.scored(trained, flags)["x"]) == 20
    flags = argparse.Namespace(**vars(flags) | {"evaluate": 0})
    assert len(shared.scored(trained, flags)["x"]) == 30


def test_the_closing_table(run, capsys):
    trained, flags = run
    measured = shared.score(trained, flags)
    capsys.readouterr()
    rows = [shared.Row("purity", "3.14", "of nothing")]
    shared.write_summary(trained, measured, flags, rows=rows, bits=True, hide=["rate"])
    head, *lines = capsys.readouterr().out.strip().splitlines()
    assert head == "test    20 data points"
    names = [line[2:15].strip() for line in lines]
    assert names == ["ELBO", "distortion", "log-evidence", "bits/dim", "purity", "time"]
    assert lines[0] == f"  {'ELBO':<13}{measured.elbo!s:>20}   nats per data point"
    assert lines[2].endswith(f"{measured.log_evidence}   importance sampling, 10 draws per data point")
    assert lines[3].endswith("-log-evidence / (3 log 2)")
    assert lines[5].endswith("training, 2 epochs on cpu")


def test_the_summary_of_a_run(run):
    trained, flags = run
    measured = shared.score(trained, flags)
    flags = argparse.Namespace(**vars(flags), command="pyrovae vae --quiet")
    shared.write_summary(trained, measured, flags, entries={"purity": 3.14})
    found = json.loads((flags.out / "summary.json").read_text())
    assert found["elbo"] == {"value": measured.elbo.value, "error": measured.elbo.error}
    assert found["rates"] == {"z": {"value": measured.rate.value, "error": measured.rate.error}}
    assert found["data"] == trained.data.describe()
    assert found["test_data"] == 20
    assert found["refined"] == {}
    assert found["train_loss_per_epoch"] == trained.history["loss"]
    assert found["epochs"] == 2
    assert found["arguments"]["batch_size"] == 20
    assert "command" not in found["arguments"]
    assert found["command"] == "pyrovae vae --quiet"
    assert found["versions"]["torch"] == torch.__version__
    assert found["purity"] == 3.14


def test_the_files_hold_numbers_as_numbers():
    value = {"a": 1, "b": torch.tensor(2.5), "c": math.nan, "d": [True, None, Path("x")], 0.5: Estimate(1.0, math.inf)}
    found = {"a": 1, "b": 2.5, "c": None, "d": [True, None, "x"], "0.5": {"value": 1.0, "error": None}}
    assert plain(value) == found


def test_the_refined_guide_has_rows_and_entries(run, capsys):
    trained, flags = run
    flags = argparse.Namespace(**vars(flags) | {"refine": 10})
    shared.write_summary(trained, shared.score(trained, flags), flags)
    out = capsys.readouterr().out
    assert all(row in out for row in ("refined ELBO", "approximation", "amortisation", "10 draws of that guide"))
    refined = json.loads((flags.out / "summary.json").read_text())["refined"]
    assert set(refined) == {"refined", "log_evidence", "approximation", "amortisation", "rise"}


def test_a_pair_that_cannot_be_refined_is_told_why(tmp_path, capsys):
    flags = flags_of(tmp_path, "--refine", "10", "--epochs", "1")
    trained = shared.train(*pair(DeltaGuide, 2), dataset(), flags)
    shared.write_summary(trained, shared.score(trained, flags), flags)
    assert "is a point mass" in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["refined"] == {}


def test_a_comparison_makes_its_folder(tmp_path):
    shared.write_comparison(tmp_path / "new", {"vae": 1.5})
    assert json.loads((tmp_path / "new" / "comparison.json").read_text()) == {"vae": 1.5}


def test_the_pictures_of_a_table(run):
    trained, flags = run
    shared.write_pictures(trained, flags.out / "pictures")
    assert {path.name for path in (flags.out / "pictures").iterdir()} == {"curves.png", "latent_z.png"}


# ------------------------------------------------------------------------------------------------ exit codes


def test_a_script_gets_its_command_and_ends_with_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x.py", "--quiet"])
    flags, seen = flags_of(tmp_path), []
    assert shared.main(lambda flags: seen.append(flags.command), flags) == 0
    assert seen == ["pyrovae test-shared --quiet"]
    assert not hasattr(flags, "command")
    assert capsys.readouterr().out == f"\nresults are in {tmp_path}/\n"


def test_a_resumed_script_starts_the_runs_that_were_not_begun(tmp_path):
    flags = flags_of(tmp_path)
    first = shared.derive(flags, out=tmp_path / "first")
    shared.train(*pair(), dataset(), first)
    for name in ("first", "second"):
        own = shared.derive(flags, out=tmp_path / name, resume=True)
        assert len(shared.train(*pair(), dataset(), own).history.rows) == 2


def test_an_error_is_one_line(tmp_path, capsys):
    def fail(flags):
        raise DataError("no data set is called 'digit'")

    assert shared.main(fail, flags_of(tmp_path)) == 2
    assert capsys.readouterr().err == "error: no data set is called 'digit'\n"


@pytest.mark.parametrize(("message", "line"), [("", "stopped"), ("stopped after epoch 3", "stopped after epoch 3")])
def test_ctrl_c_is_one_line(message, line, tmp_path, capsys):
    def stop(flags):
        raise KeyboardInterrupt(message)

    assert shared.main(stop, flags_of(tmp_path)) == 130
    assert capsys.readouterr().err == f"\n{line}\n"


def test_a_resumed_script_says_where_it_goes_on(tmp_path, capsys):
    flags = flags_of(tmp_path)
    shared.train(*pair(), dataset(), flags)
    longer = shared.derive(flags, epochs=3, resume=True)
    capsys.readouterr()
    shared.train(*pair(), dataset(), longer)
    assert f"resume  {tmp_path}, which stopped after epoch 2\n" in capsys.readouterr().out
    state = load(tmp_path / "checkpoint.pt")
    save(tmp_path / "checkpoint.pt", state | {"losses": [1.0, 2.0]})
    with suppress(PyrovaeError):
        shared.train(*pair(), dataset(), shared.derive(longer, epochs=4))
    assert "which stopped after step 2 of epoch 4\n" in capsys.readouterr().out


def test_an_error_of_an_example_is_one_line(example, tmp_path):
    done = example("vae.py", "--data", "digit", folder=tmp_path, code=2)
    assert done.stderr.startswith("error: ")
    assert "'digits'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_every_example_explains_its_flags(script, run_file):
    out, _ = run_file(script, ["--help"])
    first = ast.get_docstring(ast.parse(script.read_text())).splitlines()[0]
    assert " ".join(first.split()) in " ".join(out.split())


# ------------------------------------------------------------------------------------- data of the wrong kind


@pytest.fixture(scope="module")
def of_kind(tmp_path_factory, phrases, table, grey):
    """A small data set of each kind."""
    return {"sentences": phrases, "numbers": table, "images": grey[1], "sequences": "chords"}


WRONG = [
    ("vae.py", [], "sentences", "numbers"),
    ("vae.py", ["--arch", "conv"], "numbers", "images"),
    ("iwae.py", [], "sequences", "numbers"),
    ("conditional_vae.py", ["--task", "quadrants"], "numbers", "images"),
    ("deep_markov.py", [], "images", "sequences"),
    ("text_vae.py", [], "numbers", "sentences"),
    ("representation.py", [], "numbers", "images"),
]


@pytest.mark.parametrize(("script", "flags", "given", "required"), WRONG)
def test_data_of_another_kind_are_refused_before_training(script, flags, given, required, example, of_kind, tmp_path):
    done = example(script, "--data", of_kind[given], *flags, folder=tmp_path / "run", code=2)
    assert f"error: This example requires {required}, got {given}: " in done.stderr
    assert "Write --data " in done.stderr


@pytest.mark.parametrize("script", ["semi_supervised_vae.py", "disentangle.py", "conditional_vae.py"])
def test_data_without_labels_are_refused_where_they_are_required(script, example, grey, tmp_path):
    done = example(script, *grey, folder=tmp_path / "run", code=2)
    assert "requires labels" in done.stderr


def test_a_label_that_no_image_has_is_refused(example, digits, tmp_path):
    done = example("conditional_vae.py", "--data", digits, "--digit", "10", folder=tmp_path / "run", code=2)
    assert "--digit requires a label from 0 to 9, got 10" in done.stderr


def test_a_class_without_images_is_refused(example, digits, tmp_path):
    flags = ["--parts", "images", "--data", digits, "--classes", "12"]
    done = example("anomaly_detection.py", *flags, folder=tmp_path / "run", code=2)
    assert "--classes requires labels of some test images, got 12" in done.stderr
