"""Image and label as two modalities."""


def test_multimodal_compares_the_guides(example, digits, tmp_path):
    flags = ["--data", digits, "--hidden", "50", "--latent", "5", "--epochs", "6", "--warm-up", "3", "--rate", "0.2"]
    done = example("multimodal.py", *flags, folder=tmp_path)
    found = done.comparison()
    assert set(found) == {"product", "mixture", "mixture-of-products"}
    for one in found.values():
        assert set(one["subsets"]) == {"x", "y", "x+y"}
        assert -3.5 < one["subsets"]["y"]["log_evidence"]["value"] < -2
        assert 0 <= one["coherence"] <= 1
        assert 0 <= one["accuracy"] <= 1
    assert {"product", "mixture", "mixture-of-products"} <= done.pictures()
    assert "curves" in done.pictures("mixture")
    assert "coherence" in done.stdout


def test_multimodal_takes_subsets_and_several_draws(example, digits, tmp_path):
    flags = ["--data", digits, "--hidden", "20", "--combine", "product", "--subsets", "x+y,x", "--particles", "2"]
    done = example("multimodal.py", *flags, "--prior", "mixture", "--components", "5", folder=tmp_path)
    assert set(done.comparison()) == {"product"}


def test_multimodal_refuses_other_subsets(example, digits, tmp_path):
    done = example("multimodal.py", "--data", digits, "--subsets", "x+v", folder=tmp_path, code=2)
    assert "subsets of x and y" in done.stderr


def test_multimodal_weighs_labels_of_single_draws(example, digits, tmp_path):
    flags = ["--data", digits, "--label-weight", "50", "--particles", "2"]
    done = example("multimodal.py", *flags, folder=tmp_path, code=2)
    assert "--label-weight requires one particle" in done.stderr
