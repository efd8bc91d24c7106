"""The benchmark of held-out digits: its detectors by neighbours are those of scikit-learn."""

import json

import numpy as np
import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors


@pytest.fixture
def benchmark(load_script, monkeypatch):
    script = load_script("mnist_anomalies")
    monkeypatch.setattr(script, "ROWS", 70)
    return script


def points(benchmark, held):
    """Training points of four labels and test points: of all labels with their neighbours, and without `held`."""
    draw = torch.Generator().manual_seed(0)
    train, test = (torch.randn(size, 5, generator=draw) for size in (200, 90))
    labels = torch.arange(200) % 4
    labels[:8] = 3  # labels of different sizes, one of which has few
    near = [benchmark.neighbours_by_class(rows, train, labels, own=rows is train) for rows in (train, test)]
    return train[labels != held].numpy(), test.numpy(), benchmark.Split(train, labels, test, *near)


@pytest.mark.parametrize("held", [0, 3])
def test_neighbours_of_the_other_labels_give_the_detectors_of_scikit_learn(benchmark, held):
    seen, test, split = points(benchmark, held)
    found = benchmark.scores(held, split)
    exact = -LocalOutlierFactor(novelty=True).fit(seen).score_samples(test)
    np.testing.assert_allclose(found["LocalOutlierFactor"], exact, rtol=1e-4)
    distance = NearestNeighbors(n_neighbors=5).fit(seen).kneighbors(test)[0].mean(1)
    np.testing.assert_allclose(found["5 nearest, distance"], distance, rtol=1e-4)


def test_scores_are_higher_for_what_was_never_seen(benchmark):
    _, _, split = points(benchmark, 0)
    far = split.test.clone()
    far[:10] += 20
    near = benchmark.neighbours_by_class(far, split.train, split.labels, own=False)
    anomalous = np.arange(len(far)) < 10
    found = benchmark.areas(anomalous, benchmark.scores(0, split._replace(test=far, near_test=near)))
    assert all(area["auroc"] > 0.9 for area in found.values())


def areas(*by_digit):
    return {str(digit): {name: {"auroc": area, "auprc": 0.4} for name, area in one.items()} for digit, one in by_digit}


def test_means_and_paired_differences_have_their_errors_over_digits(benchmark, capsys):
    benchmark.show(areas((1, {"LOF": 0.9, "VAE": 0.85}), (2, {"LOF": 0.7, "VAE": 0.67})))
    lof, vae = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert lof == ["LOF", "0.900", "0.700", "0.80", "±", "0.10", "0.400"]
    assert vae == ["VAE", "0.850", "0.670", "0.760", "±", "0.090", "-0.040", "±", "0.010", "0.400"]


def test_a_run_of_the_example_is_read_by_digit(benchmark, tmp_path):
    found = {"VAE, elbo": [{"auroc": 0.9}, {"auroc": 0.5}], "IsolationForest": [{"auroc": 0.1}, {"auroc": 0.1}]}
    (tmp_path / "comparison.json").write_text(json.dumps({"images": found}))
    own = benchmark.of_example(tmp_path / "comparison.json", [4, 1])
    assert own == {"4": {"VAE, elbo": {"auroc": 0.9}}, "1": {"VAE, elbo": {"auroc": 0.5}}}
    with pytest.raises(SystemExit, match="3 classes"):
        benchmark.of_example(tmp_path / "comparison.json", [4, 1, 7])
