"""The page on extending is right: its blocks, in their order, are a script that runs."""

import re
from functools import partial
from pathlib import Path

import torch

from pyrovae.inference import ELBO
from pyrovae.inference.pair.contract import call
from pyrovae.inference.pair.scoring import log_terms

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


def test_the_worked_example(monkeypatch, tmp_path, capsys, captured_only):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "extending"}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), names)

    before, after = names["before"], names["after"]
    assert after.log_evidence.value > before.log_evidence.value + 5
    assert after.elbo.value <= after.log_evidence.value + 3 * after.log_evidence.error
    assert str(after) in capsys.readouterr().out

    counts = torch.arange(60.0)
    likelihood = names["ZeroInflatedPoisson"](1)
    entry = likelihood(torch.tensor([[1.0, -0.5]]))
    torch.testing.assert_close(entry.log_prob(counts[:, None]).exp().sum(), torch.tensor(1.0))

    pair = names["model"], names["guide"]
    routed = [partial(call, program) for program in pair]
    losses = []
    for objective in (names["Tempered"](1.0), ELBO()):
        torch.manual_seed(1)
        losses.append(objective.loss(*routed, names["test"]))
    torch.testing.assert_close(*losses)
    assert log_terms(*pair, names["test"], 4).log_likelihood.shape == (4, 100)
