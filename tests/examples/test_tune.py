"""The search: trials by Optuna, pruned and compared by one ELBO, alone or by several processes."""

import json

import pytest

FEW = ["--hidden", "16", "--trials", "3", "--epochs", "3", "--batch-size", "250"]


@pytest.fixture(autouse=True)
def _optuna():
    pytest.importorskip("optuna")


def states(done):
    return [trial["state"] for trial in done.comparison().values()]


def test_the_search_is_a_table_pictures_and_the_best_pair(example, digits, tmp_path):
    done = example("tune.py", "--data", digits, *FEW, folder=tmp_path)
    found = done.comparison()
    assert len(found) == 3
    assert set(next(iter(found.values()))["params"]) == {"lr", "latent", "kl_weight"}
    complete = {name: max(trial["elbo"]) for name, trial in found.items() if trial["state"] == "COMPLETE"}
    best = max(complete, key=complete.get)
    assert next(iter(found)) == best
    assert done.pictures() == {"search", "validation"}
    lines = done.stdout.splitlines()
    assert any(line.startswith("trial  learning rate") for line in lines)
    assert "at weight 1 whatever the training had" in done.stdout
    summary = json.loads((tmp_path / best / "summary.json").read_text())
    assert summary["arguments"]["kl_weight"] == found[best]["params"]["kl_weight"]
    assert summary["elbo"]["value"] == pytest.approx(complete[best], abs=15)  # test data beside validation data
    rows = (tmp_path / best / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4


def test_the_compared_elbo_has_weight_one(example, digits, tmp_path):
    """The same training but for the weight: ELBO = -rate - distortion in each, whatever was optimised."""
    for weight in ("0.1", "5"):
        fixed = ["--lr", "0.003", "--latent", "4", "--kl-weight", weight]
        out = tmp_path / weight
        done = example("tune.py", "--data", digits, *FEW, *fixed, "--trials", "1", folder=out)
        (trial,) = done.comparison().values()
        header, *rows = (out / "trial-000" / "metrics.csv").read_text().splitlines()
        for row, elbo in zip(rows, trial["elbo"], strict=True):
            parts = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
            assert elbo == parts["elbo"] == pytest.approx(-parts["rate"] - parts["distortion"], abs=1e-3)
            assert abs(parts["loss"] + parts["elbo"]) > 3  # the objective is another number


@pytest.mark.slow
def test_the_search_is_the_same_again_and_goes_on(example, digits, tmp_path):
    flags = ["--data", digits, *FEW, "--trials"]
    whole = example("tune.py", *flags, "3", folder=tmp_path / "whole")
    again = example("tune.py", *flags, "3", folder=tmp_path / "again")
    assert whole.comparison() == again.comparison()
    more = example("tune.py", *flags, "5", "--resume", folder=tmp_path / "again")
    assert len(more.comparison()) == 5
    assert whole.comparison().items() <= more.comparison().items()
    anew = example("tune.py", *flags, "2", "--overwrite", folder=tmp_path / "again")
    assert len(anew.comparison()) == 2


def test_a_study_of_other_flags_is_refused(example, digits, tmp_path):
    flags = ["--data", digits, *FEW, "--trials", "1"]
    example("tune.py", *flags, folder=tmp_path)
    done = example("tune.py", *flags, "--epochs", "2", "--resume", folder=tmp_path, code=2)
    assert "A study requires the same flags in every process, got others than {'epochs': '3'}" in done.stderr


def test_the_search_needs_validation_data(example, table, tmp_path):
    done = example("tune.py", "--data", table, *FEW, "--valid", "0", folder=tmp_path, code=2)
    assert "requires validation data" in done.stderr


def test_what_is_given_is_not_searched(example, digits, tmp_path):
    flags = ["--data", digits, *FEW, "--trials", "1", "--latent", "3", "--lr", "0.01"]
    done = example("tune.py", *flags, folder=tmp_path)
    (trial,) = done.comparison().values()
    assert set(trial["params"]) == {"kl_weight"}


def test_a_tracker_follows_each_trial(example, digits, tmp_path):
    pytest.importorskip("tensorboard")
    example("tune.py", "--data", digits, *FEW, "--trials", "2", "--track", "tensorboard", folder=tmp_path)
    for name in ("trial-000", "trial-001"):
        assert list((tmp_path / name / "tensorboard").glob("events.*"))


@pytest.mark.slow
def test_two_processes_share_the_study(command, digits, tmp_path):
    command("tune.py", "--data", digits, *FEW, "--workers", "2", folder=tmp_path)
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert len(found) in (3, 4)  # one trial may be under way when the other process ends the third
    values = [tuple(trial["params"].values()) for trial in found.values()]
    assert len(set(values)) == len(values)
