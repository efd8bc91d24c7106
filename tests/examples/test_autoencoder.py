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


def test_autoencoder_denoises(example, tmp_path):
    result = example("autoencoder.py", *FEW, "--denoise", "noise", "--variational", folder=tmp_path).summary()
    assert result["mse_denoised"] < 0.5 * result["mse_corrupted"]
    assert result["rate"]["value"] > 0
