"""The model card: front matter that YAML reads, the evaluation with what says whether it can be trusted."""

import re

import pytest
import torch

import pyrovae
from pyrovae import data
from pyrovae.errors import FolderError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

yaml = pytest.importorskip("yaml")
EVIL = '"]: *x\n---\n# injected: {"'


def pair(relaxed=False):
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4, relaxed=relaxed), MLP(2, 4, (5,)))
    return model, NormalGuide(MLP(4, 4, (5,)))


def front(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def test_a_card_says_everything_once():
    model, guide = pair()
    batch = {"x": torch.rand(30, 4).round()}
    measured = evaluate(model, guide, batch, num_samples=25)
    card = pyrovae.Card("Bits", "Four bits.", "thirty rows", measured, "python train.py", "apache-2.0", ["bits"])
    text = card.text(model, guide, data.Scale())
    entries = front(text)
    assert entries["license"] == "apache-2.0"
    assert entries["tags"] == ["pyrovae", "variational-autoencoder", "bits"]
    (results,) = entries["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in results["metrics"]}["elbo"] == measured.elbo.value
    assert results["dataset"]["name"] == "thirty rows"
    share = f"{100 * measured.unreliable:.0f} %"
    for words in ("# Bits", "Four bits.", str(measured.log_evidence), "python train.py", "Scale()", "pyro ", "30 data"):
        assert words in text
    assert f"| k-hat > 0.7 | {share} |" in text
    assert "bound nothing" not in text


def test_a_cross_entropy_is_called_one():
    model, guide = pair(relaxed=True)
    measured = evaluate(model, guide, {"x": torch.rand(9, 4)})
    assert "bound nothing" in pyrovae.Card(evaluation=measured).text(model, guide)


def test_a_data_set_describes_itself():
    model, guide = pair()
    split = {"x": torch.rand(3, 4)}
    digits = data.Dataset(split, {}, split, "digits", "drawn by the test")
    measured = evaluate(model, guide, {"x": torch.rand(9, 4).round()})
    text = pyrovae.Card(data=digits, evaluation=measured).text(model, guide)
    assert digits.describe() in text
    assert front(text)["model-index"][0]["results"][0]["dataset"]["name"] == "digits"


def test_an_estimate_that_is_not_finite_is_no_metric():
    model, guide = pair()
    measured = evaluate(model, guide, {"x": torch.rand(9, 4).round()}, num_samples=2)
    object.__setattr__(measured, "elbo", type(measured.elbo)(float("nan"), 0.0))
    metrics = front(pyrovae.Card(evaluation=measured).text(model, guide))["model-index"][0]["results"][0]["metrics"]
    assert [metric["type"] for metric in metrics] == ["rate", "distortion", "log_evidence"]


def test_texts_cannot_leave_their_place():
    text = pyrovae.Card(EVIL, data=EVIL, license=EVIL, tags=[EVIL]).text(*pair())
    entries = front(text)
    assert entries.keys() == {"library_name", "tags", "license"}
    assert entries["license"] == EVIL


@pytest.mark.parametrize(
    "entries", [{"title": 3}, {"evaluation": {"elbo": 1}}, {"tags": "one"}, {"tags": [3]}, {"data": {"x": 1}}]
)
def test_entries_of_another_type(entries, says):
    with says(FolderError, "Card requires"):
        pyrovae.Card(**entries)


class Mine(pyrovae.Recorded, torch.nn.Module):
    def forward(self, x):
        return x


def test_a_card_names_the_classes_that_a_reader_has_to_list(tmp_path):
    model = pair()[0]
    pyrovae.save(tmp_path / "pair", model, NormalGuide(torch.nn.Sequential(Mine(), MLP(4, 4, (5,)))))
    assert 'pyrovae.load("PATH OF THIS FOLDER", classes=[Mine])' in (tmp_path / "pair" / "README.md").read_text()
    pyrovae.load(tmp_path / "pair", classes=[Mine])
