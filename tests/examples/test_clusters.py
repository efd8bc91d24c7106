"""Clusters of digits, and the gradients of the component."""

import pytest


@pytest.mark.slow
def test_clusters_compares_accuracies_and_gradients(example, tmp_path):
    flags = ["--hidden", "64", "--latent", "5", "--start-epochs", "4", "--judged", "10", "--gradients", "20"]
    done = example("clusters.py", *flags, folder=tmp_path)
    result = done.comparison()
    assert list(result) == ["enumerated", "relaxed", "straight-through", "score", "gradients"]
    for name in ("enumerated", "relaxed", "straight-through", "score"):
        assert 0.3 < result[name]["accuracy"] < 1  # chance is 0.1
        assert done.summary(name)["accuracy"] == result[name]["accuracy"]
    start = result["gradients"]["the start"]
    assert start["score, leave one out"]["scale"] < start["score, no baseline"]["scale"]
    assert start["enumerated"]["scale"] < start["score, no baseline"]["scale"]
    assert "a mixture fitted to the codes of a VAE" in done.stdout
    assert "clusters" in done.pictures()


@pytest.mark.slow
def test_clusters_of_a_joint_guide(example, tmp_path):
    flags = ["--joint", "--hidden", "32", "--latent", "3", "--components", "4", "--variants", "score", "--judged", "0"]
    done = example("clusters.py", *flags, folder=tmp_path)
    assert list(done.comparison()) == ["score"]
    assert sum(map(sum, done.summary("score")["counts"])) == 500
