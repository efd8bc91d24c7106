"""The report of a pair: which sections it has."""

import json
from datetime import datetime

import pandas as pd
import pyro
import pyro.distributions as dist
import torch

from pyrovae.guides import DeltaGuide, NormalGuide
from pyrovae.inference import fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.report import report_folder, write_report


def test_every_kind_of_pair_has_a_report(representative, tmp_path, kinds):
    pair = representative
    before = torch.get_rng_state()
    path = write_report(pair.model, pair.guide, pair.batch, run=tmp_path, num_samples=30)
    assert torch.equal(torch.get_rng_state(), before)
    found = kinds(path)
    flat = [event for event in pair.latent.values() if len(event) == 1]
    assert not found["note"]
    assert found["map"] == sum(event[0] > 1 for event in flat)
    assert found["traversals"] == len(flat)
    assert found["gallery"] == 2 + found["estimates"]
    assert path.stat().st_size < 5e6


def test_a_data_frame_has_a_report(tmp_path, content):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3, [5]))
    frame = pd.DataFrame(torch.randn(20, 3).numpy(), columns=["a", "b", "c"])
    path = write_report(model, NormalGuide(MLP(3, 4, [5])), frame, run=tmp_path, num_samples=30)
    assert "20 data points scored" in json.dumps(content(path))


def test_a_point_mass_has_no_evidence_and_a_flat_prior_no_samples(tmp_path, content, kinds):
    model = VAE(priors.Flat(3), likelihoods.Normal((1, 4, 4), scale=1.0), MLP(3, (1, 4, 4), [5]))
    data = {"x": torch.rand(9, 1, 4, 4)}
    path = write_report(model, DeltaGuide(MLP((1, 4, 4), 3, [5])), data, run=tmp_path)
    assert kinds(path) == {"overview": 1, "gallery": 1, "note": 1, "map": 1, "traversals": 1, "glossary": 1}
    by_kind = {section["kind"]: section for section in content(path)["sections"]}
    assert "improper" in by_kind["note"]["message"]
    assert [tile[0] for tile in by_kind["overview"]["tiles"]] == ["distortion"]
    assert by_kind["map"]["prior"] == []


def test_functions_with_a_discrete_site_a_second_one_and_covariates(tmp_path, content, kinds):
    """A pair that is in no suite: plain functions, a label, a covariate, latents of two kinds."""

    def model(w, x=None, *, size=None):
        with pyro.plate("data", len(w), dim=-1):
            c = pyro.sample("c", dist.Categorical(torch.ones(3) / 3))
            u = pyro.sample("u", dist.Normal(c.float(), 1.0))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z.sum(-1, keepdim=True) + u.unsqueeze(-1) + w
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x, w):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", dist.Categorical(torch.ones(3) / 3))
            pyro.sample("u", dist.Normal(x.mean(-1), 1.0))
            pyro.sample("z", dist.Normal(x[..., :2] / 3, 0.8).to_event(1))

    data = {"x": torch.randn(12, 4), "w": torch.randn(12, 4)}
    path = write_report(model, guide, data, run=tmp_path, num_samples=30)
    found = kinds(path)
    assert not found["note"]
    assert (found["map"], found["traversals"], found["gallery"]) == (1, 1, 3)
    assert content(path)["title"].startswith("model and guide, ")


def test_the_title_says_data_and_day_and_the_page_the_command(tmp_path, content):
    """As the run's summary records them; an entry that is no line of text is left out."""
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, scale=1.0), MLP(2, 3, [5]))
    guide, data = NormalGuide(MLP(3, 4, [5])), {"x": torch.randn(9, 3)}
    line = "pyrovae vae --data 'my file.csv'"
    today = datetime.now().astimezone()
    day = f"{today.day} {today:%B %Y}"
    for described, command, title, shown in (
        ("digits: 4,000 train", line, f"VAE and NormalGuide of digits, {day}", line),
        (3, "two\nlines", f"VAE and NormalGuide, {day}", ""),
        ("a\nb", {"line": line}, f"VAE and NormalGuide, {day}", ""),
    ):
        (tmp_path / "summary.json").write_text(json.dumps({"data": described, "command": command}))
        found = content(write_report(model, guide, data, run=tmp_path, num_samples=30))
        assert (found["title"], found["command"]) == (title, shown)


def test_the_run_of_a_pair_of_ones_own_has_its_facts(tmp_path, content):
    """Without the summary of an example: data, epochs, time and settings are those that `fit` wrote."""
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3, [5])), NormalGuide(MLP(3, 4, [5]))
    data = {"x": torch.randn(20, 3)}
    options = {"epochs": 3, "batch_size": 7, "progress": False, "compile": False, "patience": 2}
    fit(model, guide, data, valid={"x": torch.randn(9, 3)}, run=tmp_path, **options)
    facts = content(write_report(model, guide, data, run=tmp_path, num_samples=30))["sections"][0]["facts"]
    assert facts["data"] == "x float32 (20, 3) for training, x float32 (9, 3) for validation"
    assert facts["epochs"] == "3"
    assert facts["best epoch"] in "123"
    assert facts["training time"].endswith(" s")
    assert facts["transform"] == "Scale"
    assert facts["settings"]["batch_size"] == "7"
    assert facts["settings"]["optimizer"] == "Adam"
    assert not {"model", "data", "torch", "model.net"} & facts["settings"].keys()
    assert content(report_folder(tmp_path)[0])["sections"][0]["facts"]["data"] == facts["data"]
    (tmp_path / "checkpoint.pt").write_text("broken")
    (tmp_path / "checkpoint.previous.pt").unlink()
    facts = content(write_report(model, guide, data, run=tmp_path, num_samples=30))["sections"][0]["facts"]
    assert facts["epochs"] == "3"
    assert "training time" not in facts


def test_numbers_that_bound_nothing_say_so(tmp_path, content):
    for bounds in (True, False):
        (tmp_path / "summary.json").write_text(json.dumps({"data": "toy", "bounds_log_evidence": bounds}))
        facts = content(report_folder(tmp_path)[0])["sections"][0]["facts"]
        assert ("bound no log p(x)" in facts.get("evidence", "")) == (not bounds)


def test_khat_is_beside_every_evidence(tmp_path, content, ppca):
    guide = ppca.guide(0.0, 0.25)
    path = write_report(ppca.model, guide, ppca.data(40), run=tmp_path, num_samples=200)
    by_kind = {section["kind"]: section for section in content(path)["sections"]}
    tile = next(tile for tile in by_kind["overview"]["tiles"] if tile[0] == "log-evidence")
    assert "k-hat above 0.7 for" in tile[2]
    assert "too low" in tile[2]
    assert "k-hat above 0.7 for" in by_kind["estimates"]["text"]
    assert "k-hat > 0.7" in by_kind["estimates"]["groups"][0]["rows"][1]["note"]
    (tmp_path / "summary.json").write_text(
        json.dumps({"log_evidence": {"value": -1.0, "error": 0.1}, "unreliable": 0.5})
    )
    (tile,) = content(report_folder(tmp_path)[0])["sections"][0]["tiles"]
    assert "k-hat above 0.7 for 50 %" in tile[2]
