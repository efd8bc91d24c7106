"""Every example runs, small, and its numbers are checked."""

import json
import math
import os
import runpy
import subprocess
import sys
import time
import wave
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("PYROVAE_DATA", ROOT.parent / "shared" / "data"))
SMALL = ["--quiet", "--epochs", "2", "--evaluate", "50", "--num-samples", "10", "--no-compile"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(script, *flags, folder):
    """As from the command line, in this process: importing torch for each example takes longer than most of them."""
    argv, path = [str(ROOT / "examples" / script), *flags, "--out", str(folder)], [str(ROOT / "examples"), *sys.path]
    out, err = StringIO(), StringIO()
    with (
        mock.patch.multiple(sys, argv=argv, path=path),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as stopped,
    ):
        runpy.run_path(argv[0], run_name="__main__")
    return Done(stopped.value.code, out.getvalue(), err.getvalue())


def run_command(*command):
    command = [sys.executable, "-W", "error", *map(str, command)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_vae_trains_scores_and_draws(tmp_path):
    done = run("vae.py", *SMALL, "--latent", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "log-evidence" in done.stdout
    result = summary(tmp_path)
    losses = result["train_loss_per_epoch"]
    assert losses[1] < losses[0] < 784 * math.log(2)
    assert -250 < result["elbo"]["value"] < result["log_evidence"]["value"] < -100
    assert result["elbo"]["value"] == pytest.approx(-result["rate"]["value"] - result["distortion"]["value"], abs=1e-3)
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures == {"curves", "interpolations", "latent_z", "manifold", "reconstructions", "samples", "traversals"}
    flags = [*SMALL, "--latent", "2", "--epochs", "3", "--resume", "--out", tmp_path]
    again = run_command(ROOT / "examples" / "vae.py", *flags)
    assert again.returncode == 0, again.stderr
    assert summary(tmp_path)["train_loss_per_epoch"][:2] == losses


def test_the_time_of_a_run_that_was_stopped_counts(tmp_path, monkeypatch):
    flags = ["--hidden", "16", "--latent", "2"]
    with monkeypatch.context() as patched:
        patched.setattr("pyrovae.examples._shared.fit", stop_after_two_seconds)
        done = run("vae.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip() == "stopped"
    assert run("vae.py", *SMALL, *flags, "--resume", folder=tmp_path).returncode == 0
    assert summary(tmp_path)["seconds"] > 2


def stop_after_two_seconds(*args, run, **options):
    run.mkdir(exist_ok=True)
    time.sleep(2)
    raise KeyboardInterrupt


def test_vae_convolves_a_folder_of_colour_images(tmp_path):
    train = SHARED / "cifar10-jpg" / "train"
    if not train.is_dir():
        pytest.skip("no CIFAR-10 folder: set PYROVAE_DATA")
    done = run("vae.py", *SMALL, "--arch", "conv", "--data", f"folder:{train}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]
    assert result["test_data"] == 50


def test_vae_takes_a_table(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b,c\n" + "".join(f"{i % 7},{i % 5},{i % 3}\n" for i in range(100)))
    done = run("vae.py", *SMALL, "--data", str(table), "--hidden", "16", "--latent", "3", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert math.isfinite(summary(tmp_path / "run")["log_evidence"]["value"])


def test_conv_vae_scores_pixels_in_bits_per_dim(tmp_path):
    flags = ["--channels", "4,8", "--latent", "4", "--batch-size", "128", "--epochs", "4"]
    done = run("conv_vae.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert result["bits_per_dim"] == pytest.approx(-result["log_evidence"]["value"] / (3072 * math.log(2)))
    assert f"{result['bits_per_dim']:.3f} ± " in done.stdout
    assert 4 < result["bits_per_dim"] < 8  # 8 is what a uniform distribution of levels has
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]


def test_conv_vae_takes_grey_images_and_a_mixture(tmp_path):
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(100, 140, (80, 7, 5), dtype=np.uint8))
    source = ["--data", str(tmp_path / "grey.npy"), "--valid", "10", "--test", "20"]
    nets = ["--arch", "mlp", "--hidden", "8", "--components", "2"]
    done = run("conv_vae.py", *SMALL, *source, *nets, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path / "run")
    assert result["test_data"] == 20
    assert math.log2(40) < result["bits_per_dim"] < 8  # noise of 40 levels


@pytest.mark.parametrize(
    "flags", [[], ["--model", "chain", "--guide", "bottom-up", "--latents", "8,4", "--arch", "gated"]]
)
def test_hierarchical_vae_tells_the_rate_of_each_level(flags, tmp_path):
    done = run("hierarchical_vae.py", *SMALL, "--width", "32", "--warm-up", "1", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    rates = {name: rate["value"] for name, rate in result["rates"].items()}
    assert sorted(rates) == (["z1", "z2"] if flags else ["z1", "z2", "z3"])
    assert sum(rates.values()) == pytest.approx(result["rate"]["value"], abs=1e-3)
    assert all(f"rate of {name}" in done.stdout for name in rates)
    assert -300 < result["elbo"]["value"] <= result["log_evidence"]["value"] < -100
    assert {"curves", "reconstructions", "samples", "latent_z1"} <= {path.stem for path in tmp_path.glob("*.png")}


def test_the_refined_guide_is_held_against_the_guide_on_the_same_images(tmp_path):
    done = run("vae.py", *SMALL, "--hidden", "50", "--latent", "4", "--refine", "100", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    refined = {name: estimate["value"] for name, estimate in result["refined"].items() if name != "rise"}
    elbo = result["elbo"]["value"]  # of images whose pixels are drawn anew it would differ by a nat
    assert refined["amortisation"] > 0.1
    assert refined["refined"] - refined["amortisation"] == pytest.approx(elbo, abs=0.3)


def test_few_grey_images_want_a_floor_and_a_vamp_prior(tmp_path):
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(100, 140, (80, 7, 5), dtype=np.uint8))
    source = ["--data", str(tmp_path / "grey.npy"), "--valid", "10", "--test", "20", "--evaluate", "20"]
    few = ["--min-scale", "0.02", "--pseudo-inputs", "5", "--corrupt", "0.05"]
    scripts = {
        "conv_vae.py": ["--arch", "gated", "--hidden", "8"],
        "hierarchical_vae.py": ["--arch", "gated", "--likelihood", "logistic", "--width", "8", "--latents", "4,2"],
    }
    for script, nets in scripts.items():
        done = run(script, *SMALL, *source, *few, *nets, "--refine", "50", folder=tmp_path / script)
        assert done.returncode == 0, done.stderr
        result = summary(tmp_path / script)
        refined = {name: estimate["value"] for name, estimate in result["refined"].items() if name != "rise"}
        closer = -refined["log_evidence"] / (35 * math.log(2))
        assert math.log2(40) < result["bits_per_dim"] < 8
        assert closer == pytest.approx(result["bits_per_dim"], abs=0.05)  # two epochs leave little to refine
        assert refined["refined"] < refined["log_evidence"]
        assert done.stdout.count("bits/dim") == 2
        assert f"{closer:.3f} ± " in done.stdout
    done = run("hierarchical_vae.py", "--guide", "bottom-up", "--pseudo-inputs", "5", folder=tmp_path)
    assert done.returncode == 2
    assert "--pseudo-inputs wants" in done.stderr


@pytest.mark.parametrize("guide", ["top-down", "bottom-up"])
def test_hierarchical_vae_convolves(guide, tmp_path):
    few = ["--width", "2", "--batch-size", "1000", "--num-samples", "2", "--warm-up", "0"]
    done = run("hierarchical_vae.py", *SMALL, *few, "--arch", "conv", "--guide", guide, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert set(result["rates"]) == {"z1", "z2", "z3"}
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]


def test_iwae_compares_bounds_and_gradients(tmp_path):
    done = run("iwae.py", *SMALL, "--epochs", "1", "--batch-size", "500", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert list(result) == ["ELBO", "IWAE-10, plain", "IWAE-10, stl", "IWAE-10, dreg"]
    assert all(row["bound"][0] < row["log_evidence"][0] + 1 for row in result.values())
    plain, dreg = result["IWAE-10, plain"]["gradient"], result["IWAE-10, dreg"]["gradient"]
    assert dreg["scale"] < plain["scale"]
    assert "signal/noise" in done.stdout


@pytest.mark.parametrize("layers", ["1", "2"])
def test_iwae_trains_one(layers, tmp_path):
    flags = ["--particles", "3", "--gradient", "dreg", "--layers", layers, "--schedule", "cosine"]
    done = run("iwae.py", *SMALL, *flags, "--batch-size", "500", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0] < 784 * math.log(2)
    assert result["particles"] == 3


def test_iwae_starts_at_another_run(tmp_path):
    one = ["--particles", "1", "--batch-size", "500"]
    assert run("iwae.py", *SMALL, *one, folder=tmp_path / "elbo").returncode == 0
    more = ["--particles", "3", "--batch-size", "500", "--start", str(tmp_path / "elbo")]
    done = run("iwae.py", *SMALL, *more, folder=tmp_path / "iwae")
    assert done.returncode == 0, done.stderr
    before, after = (summary(tmp_path / name)["train_loss_per_epoch"] for name in ("elbo", "iwae"))
    assert after[0] < before[-1]
    scored = ["--epochs", "0", "--schedule", "cosine", "--start", str(tmp_path / "elbo")]
    done = run("iwae.py", *SMALL, *one, *scored, folder=tmp_path / "scored")
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "scored")["log_evidence"] == summary(tmp_path / "elbo")["log_evidence"]


def test_conditional_vae_generates_by_label(tmp_path):
    done = run("conditional_vae.py", *SMALL, "--latent", "3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0] < 784 * math.log(2)
    assert -250 < result["elbo"]["value"] < result["log_evidence"]["value"] < -100
    assert {path.stem for path in tmp_path.glob("*.png")} == {"curves", "on_demand", "style_transfer", "styles"}


def test_conditional_vae_completes_images(tmp_path):
    scores = {}
    for seen in ("1", "3"):
        folder = tmp_path / seen
        done = run("conditional_vae.py", *SMALL, "--task", "quadrants", "--seen", seen, folder=folder)
        assert done.returncode == 0, done.stderr
        scores[seen] = -summary(folder)["log_evidence"]["value"]
        assert {path.stem for path in folder.glob("*.png")} == {"completions", "curves"}
    assert 20 < scores["3"] < scores["1"] < 160


def test_semi_supervised_vae_classifies(tmp_path):
    flags = ["--labels", "100,500", "--hidden", "50"]
    done = run("semi_supervised_vae.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = summary(tmp_path)["accuracy"]
    assert 0.3 < found["100"] < 1
    assert 0.6 < found["500"] < 1
    assert "500 labels" in done.stdout


def test_semi_supervised_vae_stacks(tmp_path):
    flags = ["--labels", "500", "--hidden", "50", "--program", "m1+m2", "--codes", "10", "--alpha", "100"]
    flags += ["--m1-epochs", "10", "--epochs", "10", "--batch-size", "50"]
    done = run("semi_supervised_vae.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0.3 < summary(tmp_path)["accuracy"]["500"] < 1


def test_autoencoder_squares_errors(tmp_path):
    flags = ["--epochs", "6", "--batch-size", "50", "--hidden", "100", "--refine", "10"]
    done = run("autoencoder.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is a point mass" in done.stdout
    result = summary(tmp_path)
    assert result["refined"] == {}
    assert 0.01 < result["mse"] < 0.05
    assert result["rate"]["value"] == 0
    assert "log-evidence" not in done.stdout


def test_autoencoder_denoises(tmp_path):
    flags = ["--denoise", "noise", "--variational", "--epochs", "6", "--batch-size", "50", "--hidden", "100"]
    done = run("autoencoder.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    assert result["mse_denoised"] < 0.5 * result["mse_corrupted"]
    assert result["rate"]["value"] > 0


def test_flows_compares_priors_and_posteriors(tmp_path):
    small = ["--epochs", "2", "--batch-size", "500", "--hidden", "32", "--width", "16", "--latent", "4"]
    variants = ["plain", "vamp", "flow-prior", "flow-guide"]
    flags = ["--components", "10", "--layers", "2", "--variants", ",".join(variants), "--schedule", "cosine"]
    done = run("flows.py", *SMALL, *small, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert list(result) == variants
    for name, row in result.items():
        assert -300 < row["elbo"][0] <= row["log_evidence"][0] < -100, name
        assert summary(tmp_path / name)["variant"] == name


def test_flows_names_a_variant_that_there_is_not(tmp_path):
    done = run("flows.py", *SMALL, "--variants", "plain,vampire", folder=tmp_path)
    assert done.returncode == 2
    assert "vampire" in done.stderr


def test_a_report_of_a_run_and_of_one_among_others(tmp_path):
    done = run("vae.py", *SMALL, "--epochs", "1", "--latent", "2", folder=tmp_path / "old")
    assert done.returncode == 0, done.stderr
    before = summary(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "vae")
    flags = ["--variants", "plain", "--epochs", "1", "--hidden", "32", "--latent", "4", "--report"]
    done = run("flows.py", *SMALL, *flags, folder=tmp_path / "flows")
    assert done.returncode == 0, done.stderr
    (tmp_path / "flows" / "plain" / "report.html").unlink()
    for folder in (tmp_path / "vae", tmp_path / "flows" / "plain"):
        done = run_command("-m", "pyrovae.report", folder, "--evaluate", "40")
        assert done.returncode == 0, done.stderr
        assert 1e5 < (folder / "report.html").stat().st_size < 5e6
        assert len(summary(folder)["train_loss_per_epoch"]) == 1
    after = summary(tmp_path / "vae")
    assert after["train_loss_per_epoch"] == before["train_loss_per_epoch"]
    assert after["seconds"] >= before["seconds"]
    assert not (tmp_path / "old").exists()


def test_inspect_posterior_trains_or_loads_and_keeps_draws(tmp_path):
    small = [*SMALL, "--draws", "20", "--drawn", "5", "--num-samples", "30"]
    done = run("inspect_posterior.py", *small, "--anneal", "3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "k-hat" in done.stdout
    assert "AIS from the guide" in done.stdout
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(tmp_path / "posterior.nc", group="posterior", engine="h5netcdf") as draws:
        assert dict(draws.sizes)["datum"] == 5
        assert draws["z"].shape == (2, 10, 5, 10)
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_inspect_posterior_wants_a_finished_run(tmp_path):
    done = run("inspect_posterior.py", "--run", str(tmp_path / "none"), folder=tmp_path)
    assert done.returncode == 2
    assert "no summary.json" in done.stderr


def test_disentangle_tells_the_factors(tmp_path):
    flags = ["--epochs", "6", "--batch-size", "500", "--hidden", "100", "--latent", "4", "--schedule", "cosine"]
    variants = ["vae", "beta-tcvae"]
    done = run("disentangle.py", *SMALL, *flags, "--lr", "0.005", "--variants", ",".join(variants), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert list(result) == variants
    for name, row in result.items():
        assert set(row["gaps"]) == {"shape", "scale", "orientation", "column", "row"}
        assert 0 < row["mig"] < 1
        assert 0.3 < row["factor_vae_score"] <= 1  # chance is 0.2
        assert summary(tmp_path / name)["mig"] == row["mig"]
        assert {"curves", "samples", "traversals"} <= {path.stem for path in (tmp_path / name).glob("*.png")}
    assert result["beta-tcvae"]["rate"][0] < result["vae"]["rate"][0]
    assert "FactorVAE" in done.stdout


def test_disentangle_takes_labels_for_factors(tmp_path):
    flags = ["--data", "digits", "--variants", "beta-vae", "--hidden", "30", "--batch-size", "500"]
    done = run("disentangle.py", *SMALL, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(summary(tmp_path / "beta-vae")["gaps"]) == ["y"]


def test_representation_tells_draws_augments_and_compresses(tmp_path):
    small = ["--hidden", "64", "--plane-hidden", "32,16", "--channel-hidden", "64", "--batch-size", "250"]
    small += ["--epochs", "4", "--warm-up", "1", "--lr", "0.005"]
    few = ["--labels", "50,100", "--trials", "2", "--copies", "3", "--kl-weights", "1,30", "--channel", "8"]
    done = run("representation.py", *SMALL, *small, *few, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert set(result) == {"probe", "plane", "augment", "compress"}
    assert result["probe"]["VAE-10"]["nearest"][0] > 0.6  # chance is 0.1
    assert result["plane"]["VAE-2"]["nearest"][0] > 0.2
    fewer, more = result["augment"]["pixels"].values()
    assert 0.5 < fewer[0] < more[0] < 1
    dear, cheap = result["compress"]["VAE"]
    assert cheap["rate"] < dear["rate"]
    assert dear["mse"] < cheap["mse"] < 0.07  # about what the mean of the digits leaves
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures == {"augmented", "decoded", "few_labels", "rate_distortion"}
    assert {"latent_z", "manifold"} <= {path.stem for path in (tmp_path / "plane").glob("*.png")}


def test_representation_knows_its_parts(tmp_path):
    done = run("representation.py", *SMALL, "--parts", "probe,map", folder=tmp_path)
    assert done.returncode == 2
    assert "--parts has map" in done.stderr


def test_anomaly_detection_tells_malignant_rows_and_a_held_out_digit(tmp_path):
    small = ["--hidden", "64,32", "--batch-size", "250", "--classes", "1", "--regret", "20", "--lr", "0.005"]
    done = run("anomaly_detection.py", *SMALL, *small, "--splits", "1", "--table-epochs", "40", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert result["table"]["VAE, elbo"][0]["auroc"] > 0.9
    assert result["images"]["VAE, complexity"][0]["auroc"] > 0.9 > 0.5 > result["images"]["VAE, error"][0]["auroc"]
    names = {"IsolationForest", "LocalOutlierFactor", "PCA, squared error", "5 nearest, distance"}
    assert names < set(result["table"])
    assert names < set(result["images"])
    assert "threshold for 5% false alarms" in done.stdout
    assert {path.stem for path in tmp_path.glob("*.png")} == {"table_columns", "table_curves"}
    assert {"anomalies", "curves"} <= {path.stem for path in (tmp_path / "class-1").glob("*.png")}


def test_anomaly_detection_of_one_normal_digit(tmp_path):
    small = ["--hidden", "64,32", "--batch-size", "250", "--classes", "1", "--regret", "0", "--lr", "0.005"]
    flags = ["--parts", "images", "--normal", "one", "--kinds", "error", "--epochs", "10"]
    done = run("anomaly_detection.py", *SMALL, *small, *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "comparison.json").read_text())["images"]["VAE, error"][0]["auroc"] > 0.9


def test_faults_are_one_line_and_exit_code_2(tmp_path):
    done = run("vae.py", *SMALL, "--data", "digit", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "'digits'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_tutorials_headline_on_the_full_mnist(tmp_path):
    if not (SHARED / "MNIST").is_dir():
        pytest.skip("no MNIST: set PYROVAE_DATA")
    flags = ["--preset", "mlp-grey", "--data", "mnist", "--root", str(SHARED), "--epochs", "5", "--quiet"]
    done = run("vae.py", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for loss, published in zip(summary(tmp_path)["train_loss_per_epoch"], HEADLINE, strict=True):
        assert loss <= published


HEADLINE = (166.4, 121.9, 114.8, 111.9, 110.2)  # nats per image, of the tutorials' program


def sentences(path):
    """Phrases that go together in two ways."""
    animals, things = ("cat", "dog", "fox", "hen"), ("tree", "rock", "lake", "hill")
    lines = [f"the {a} runs to the {b}" for a in animals for b in animals]
    lines += [f"a {a} lies by some {b} {end}" for a in things for b in things for end in ("now", "here")]
    path.write_text("\n".join(lines))
    return str(path)


TEXT = ["--hidden", "8", "--embedding", "4", "--latent", "2", "--batch-size", "8", "--epochs", "4"]


def test_text_vae_beside_a_language_model(tmp_path):
    file = sentences(tmp_path / "lines.txt")
    done = run("text_vae.py", *SMALL, *TEXT, "--data", file, "--lr", "0.02", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert list(table) == ["lm", "collapsed", "vae", "iwae"]
    assert done.stdout.count("nats per datum, exact") == 1
    assert done.stdout.count("importance sampling") == 3
    for variant, row in table.items():
        assert 1 < row["perplexity"][0] < 19  # of uniform words
        losses = summary(tmp_path / "run" / variant)["train_loss_per_epoch"]
        assert losses[-1] < losses[0] or variant in ("vae", "iwae")
    assert table["lm"]["rate"][0] == table["lm"]["active"] == 0
    assert table["vae"]["rate"][0] > table["collapsed"]["rate"][0]
    assert "from its code, by beam search" in (tmp_path / "run" / "vae" / "sentences.txt").read_text()
    assert {path.stem for path in (tmp_path / "run" / "vae").glob("*.png")} == {"curves", "latent_z"}


def test_text_vae_by_a_transformer_with_an_aggressive_guide(tmp_path):
    file = sentences(tmp_path / "lines.txt")
    flags = ["--data", file, "--level", "char", "--variants", "vae", "--decoder", "transformer", "--every", "3"]
    flags += ["--lr", "0.01"]
    done = run("text_vae.py", *SMALL, *TEXT, *flags, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "run" / "vae")["elbo"]["value"] > -27 * math.log(30)


def test_text_vae_says_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    done = run("text_vae.py", *SMALL, "--data", str(tmp_path / "latin.txt"), folder=tmp_path / "run")
    assert done.returncode == 2
    assert "not UTF-8: byte 0xe9 in line 1" in done.stderr


MARKOV = ["--latent", "4", "--transition", "8", "--emission", "8", "--rnn", "8", "--batch-size", "100", "--length", "8"]


@pytest.mark.parametrize("flags", [[], ["--flows", "1", "--kind", "gru", "--warm-up", "0"]])
def test_deep_markov_scores_steps_and_plays(flags, tmp_path):
    done = run("deep_markov.py", *SMALL, *MARKOV, "--lr", "0.03", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path)
    nats = result["nats_per_step"]
    assert 4.5 < nats["exact"] < nats["log_evidence"] < nats["elbo"] < 20
    assert f"{nats['exact']:.3f}" in done.stdout
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]
    assert {path.stem for path in tmp_path.glob("*.png")} == {"curves", "rolls"}
    with wave.open(str(tmp_path / "drawn.wav")) as file:
        assert file.getnframes() == round(8 * 0.5 * file.getframerate())


def test_deep_markov_says_where_chorales_come_from(tmp_path):
    (tmp_path / "jsb-chorales-quarter.json").write_text("{")
    done = run("deep_markov.py", *SMALL, "--data", "chorales", "--root", str(tmp_path), folder=tmp_path / "run")
    assert done.returncode == 2
    assert "--data chords" in done.stderr
