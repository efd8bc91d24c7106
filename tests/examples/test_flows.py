"""Priors and posteriors compared."""

FEW = ["--epochs", "2", "--batch-size", "250", "--hidden", "32", "--width", "16", "--latent", "4", "--components", "10"]


def test_flows_compares_priors_and_posteriors(example, digits, tmp_path):
    variants = ["plain", "vamp", "flow-prior", "flow-guide", "von-mises-fisher", "power-spherical"]
    flags = ["--data", digits, "--layers", "2", "--variants", ",".join(variants), "--schedule", "cosine"]
    done = example("flows.py", *FEW, *flags, folder=tmp_path)
    result = done.comparison()
    assert list(result) == variants
    for name, row in result.items():
        assert -300 < row["elbo"]["value"] <= row["log_evidence"]["value"] < -100, name
        assert done.summary(name)["variant"] == name
        assert row["unreliable"] is None  # ten draws are too few to tell
    assert done.pictures() == {"comparison", "validation"}


def test_flows_names_a_variant_that_does_not_exist(example, tmp_path):
    done = example("flows.py", "--variants", "plain,vampire", folder=tmp_path, code=2)
    assert "--variants: there is no vampire. Choose from plain," in done.stderr
