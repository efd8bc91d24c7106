"""The autoencoder: squared errors, denoising."""

FEW = ["--epochs", "6", "--batch-size", "50", "--hidden", "100"]


def test_autoencoder_squares_errors(example, tmp_path):
    done = example("autoencoder.py", *FEW, "--refine", "10", folder=tmp_path)
    assert "is a point mass" in done.stdout
    result = done.summary()
    assert result["refined"] == {}
    assert 0.01 < result["mse"] < 0.05
    assert result["rate"]["value"] == 0
    assert "log-evidence" not in done.stdout
    assert done.pictures() == {"curves", "steps", "latent", "manifold", "reconstructions"}


def test_autoencoder_of_a_table_rebuilds_standardised_columns(example, tmp_path):
    flags = ["--data", "breast-cancer", "--hidden", "32", "--latent", "5", "--epochs", "30", "--lr", "0.005"]
    done = example("autoencoder.py", *flags, folder=tmp_path)
    assert done.summary()["mse"] < 0.5  # the mean of each column has 1
    assert done.pictures() == {"curves", "steps", "latent"}


def test_autoencoder_denoises(example, tmp_path):
    result = example("autoencoder.py", *FEW, "--denoise", "noise", "--variational", folder=tmp_path).summary()
    assert result["mse_denoised"] < 0.5 * result["mse_corrupted"]
    assert result["rate"]["value"] > 0
