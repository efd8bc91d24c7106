"""Counts of cells: with given and latent totals, and with few labels."""

SMALL = ("--epochs", "1", "--hidden", "16", "--latent", "3", "--batch-size", "400", "--evaluate", "20")


def test_counts_of_cells(example, tmp_path):
    done = example("cells.py", *SMALL, "--num-samples", "30", folder=tmp_path)
    assert -1000 < done.summary()["elbo"]["value"] < -700
    assert "rate" in done.stdout


def test_few_labels_and_latent_totals(example, tmp_path):
    flags = ["--labels", "60", "--total", "latent", "--likelihood", "zinb", "--dispersion", "gene-batch"]
    done = example("cells.py", *SMALL, "--num-samples", "30", *flags, folder=tmp_path)
    assert 0.05 < done.summary()["accuracy"] <= 1


def test_data_that_are_no_cells(example, tmp_path):
    done = example("cells.py", "--data", "digits", folder=tmp_path, code=2)
    assert "--data cells" in done.stderr
