"""Priors after the fact, of a pair that is trained or loaded."""


def test_fit_prior_trains_and_compares(example, digits, tmp_path):
    few = ["--data", digits, "--epochs", "2", "--hidden", "32", "--latent", "4", "--prior-epochs", "2"]
    done = example("fit_prior.py", *few, "--components", "10", "--width", "16", folder=tmp_path)
    assert list(done.comparison()) == ["flow", "mixture", "vamp"]
    for row in done.comparison().values():
        assert row["gain"]["value"] > -1
        assert row["rate"]["value"] > 0
    assert "gain of the ELBO on the same draws" in done.stdout
    again = example("fit_prior.py", "--run", str(tmp_path), "--priors", "flow", folder=tmp_path / "again")
    assert list(again.comparison()) == ["flow"]


def test_fit_prior_requires_a_finished_run(example, tmp_path):
    done = example("fit_prior.py", "--run", str(tmp_path / "none"), folder=tmp_path, code=2)
    assert "requires the folder of a training" in done.stderr
