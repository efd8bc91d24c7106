"""The benchmark of imputations: what is measured is kept, and methods are compared on the masks that both have."""

import json
from argparse import Namespace

import pytest
import torch


@pytest.fixture
def benchmark(load_script):
    return load_script("imputation")


def lines(method, errors, share=None):
    return [
        {"table": "breast", "seed": seed, "method": method, "error": error, "coverage": share, "seconds": 1.0}
        for seed, error in enumerate(errors)
    ]


def test_differences_are_over_shared_masks(benchmark, capsys):
    x = torch.zeros(3, 2)
    benchmark.show("breast", x, lines("VAEImputer", [0.2, 0.3], 0.9) + lines("mean", [1.0, 1.3, 5.0]))
    ours, mean = capsys.readouterr().out.splitlines()[3:]
    assert "0.250 ± 0.050" in ours
    assert "90.0 %" in ours
    assert "-0.90 ± 0.10, 2" in mean
    assert mean.split()[4] == "3"


def test_what_the_file_holds_is_not_measured_again(benchmark, tmp_path):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    args = Namespace(seeds=2, methods=["mean", "factor analysis"], out=tmp_path / "lines.jsonl")
    found = benchmark.measure("breast", x, args, lines("mean", [0.5]))
    assert [(line["method"], line["seed"]) for line in found if line["method"] == "mean"] == [("mean", 0), ("mean", 1)]
    assert found[0]["error"] == 0.5
    written = [json.loads(line) for line in args.out.read_text().splitlines()]
    assert written == found[1:]
    assert all(0 <= line["coverage"] <= 1 for line in written if line["method"] != "mean")
