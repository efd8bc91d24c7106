"""Few labels: M2, and M1+M2."""


def test_semi_supervised_vae_classifies(example, tmp_path):
    done = example("semi_supervised_vae.py", "--labels", "100,500", "--hidden", "50", folder=tmp_path)
    found = done.summary()["accuracy"]
    assert 0.3 < found["100"] < 1
    assert 0.6 < found["500"] < 1
    assert "500 labels" in done.stdout


def test_semi_supervised_vae_stacks(example, tmp_path):
    flags = ["--labels", "500", "--hidden", "50", "--program", "m1+m2", "--codes", "10", "--alpha", "100"]
    flags += ["--m1-epochs", "3", "--epochs", "3", "--lr", "0.003", "--batch-size", "50"]
    done = example("semi_supervised_vae.py", *flags, folder=tmp_path)
    assert 0.3 < done.summary()["accuracy"]["500"] < 1
