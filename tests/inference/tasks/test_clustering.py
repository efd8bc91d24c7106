"""Clusters against labels, where the best matching is known."""

from itertools import permutations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import DataError, PairError
from pyrovae.inference import cluster_accuracy


class Told(nn.Module):
    """A guide whose clusters stand in x."""

    def __init__(self, components, one_hot=True):
        super().__init__()
        self.components, self.kind = components, dist.OneHotCategorical if one_hot else dist.Categorical

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", self.kind(logits=10.0 * nn.functional.one_hot(x.long(), self.components)))


def model(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)


def accuracy(clusters, y, components, **options):
    data = {"x": torch.as_tensor(clusters).float(), "y": torch.as_tensor(y)}
    return cluster_accuracy(model, Told(components, **options), data, transform=lambda batch: batch)


@pytest.mark.parametrize("one_hot", [True, False])
def test_renamed_labels_are_found(one_hot):
    y = torch.arange(30) % 3
    found = accuracy((y + 1) % 3, y, 3, one_hot=one_hot)
    assert found.value == 1.0
    assert found.labels.tolist() == [2, 0, 1]
    assert found.counts.tolist() == [[0, 0, 10], [10, 0, 0], [0, 10, 0]]


def test_the_matching_is_the_best_of_all():
    clusters, y = torch.randint(4, (200,)), torch.randint(4, (200,))
    best = max((torch.tensor(p)[clusters] == y).double().mean().item() for p in permutations(range(4)))
    found = accuracy(clusters, y, 4)
    assert found.value == pytest.approx(best)
    assert found.error == pytest.approx((best * (1 - best) / 200) ** 0.5)
    assert (found.labels[clusters] == y).double().mean().item() == pytest.approx(best)


def test_one_cluster_for_each_label_and_no_more():
    """Five clusters of three labels: those without a label count as wrong; an empty one is not in use."""
    found = accuracy([0, 0, 1, 1, 2, 3], [0, 0, 1, 1, 2, 2], 5)
    assert found.value == pytest.approx(5 / 6)
    assert sorted(found.labels.tolist()) == [-1, -1, 0, 1, 2]
    assert found.used == 4
    assert "0.83 ± 0.15" in str(found)


@pytest.mark.parametrize(
    ("y", "got"), [(torch.zeros(4), "torch.float32"), (torch.tensor([0, 1, -1, 0]), "int64"), (None, "none of 'x'")]
)
def test_labels_that_are_none(y, got, says):
    data = {"x": torch.zeros(4)} | ({} if y is None else {"y": y})
    with says(DataError, "cluster_accuracy requires labels 'y'", got):
        cluster_accuracy(model, Told(2), data, transform=lambda batch: batch)


def test_a_guide_without_clusters(says):
    with says(PairError, "no site 'k'"):
        data = {"x": torch.zeros(4), "y": torch.zeros(4).long()}
        cluster_accuracy(model, Told(2), data, latent="k", transform=lambda batch: batch)
