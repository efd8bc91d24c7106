"""The benchmark of detectors: its splits, its skips, its ranks, and where it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


@pytest.fixture
def benchmark(load_script):
    return load_script("anomaly")


def run(*arguments):
    command = [sys.executable, str(BENCHMARKS / "anomaly.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def test_a_large_table_is_cut_and_keeps_ten_anomalies(benchmark, tmp_path):
    x, y = np.arange(30_000.0)[:, None], np.arange(30_000) < 12
    np.savez(tmp_path / "1_rare.npz", X=x, y=y)
    rows = benchmark.split(tmp_path / "1_rare.npz", 0, "unsupervised")
    whole = len(rows.train) + len(rows.test)
    assert 10_000 <= whole <= 10_010
    assert rows.anomalous.sum() == 3
    assert not set(rows.train[:, 0]) & set(rows.test[:, 0])
    clean = benchmark.split(tmp_path / "1_rare.npz", 0, "clean")
    assert len(clean.train) == len(rows.train) - 7
    assert (clean.test == rows.test).all()
    assert (clean.train[:, 0] >= 12).all()


def test_ranks_share_ties_and_differences_are_paired(benchmark):
    areas = np.array([[0.9, 0.5], [0.8, 0.5], [0.7, 0.9]])
    assert benchmark.ranks(areas).tolist() == [(1 + 2.5) / 2, (2 + 2.5) / 2, (3 + 1) / 2]
    assert benchmark.paired(np.array([0.1, 0.3])) == "+0.20 ± 0.10"


def test_kinds_of_ours_do_not_push_the_others_down(benchmark):
    values = {"VAEDetector, elbo": [0.9, 0.6], "VAEDetector, error": [0.8, 0.8], "kNN": [0.7, 0.7], "LOF": [0.5, 0.5]}
    ranks = {name: benchmark.rank_of(name, {key: np.array(row) for key, row in values.items()}) for name in values}
    assert ranks == {"VAEDetector, elbo": 1.5, "VAEDetector, error": 1.0, "kNN": 1.5, "LOF": 3.0}


def test_without_tables_it_is_skipped_with_a_reason(tmp_path):
    done = run("--root", tmp_path, "--out", tmp_path)
    assert done.returncode == 1
    assert "skipped: no tables of ADBench" in done.stderr
    assert "PYROVAE_DATA" in done.stderr


def test_what_was_measured_is_shown_by_setting(tmp_path):
    rows = [
        {"table": table, "seed": 0, "setting": "clean", "method": method, "seconds": 1.0, "auroc": area, "aupr": 0.5}
        for table in (1, 2, 3, 4)
        for method, area in (("VAEDetector, elbo", 0.8 + table / 100), ("kNN", 0.7))
    ]
    (tmp_path / "any.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = run("--out", tmp_path, "--show").stdout
    assert "clean, chosen on 2 tables" in shown
    assert "clean, the other 2 tables" in shown
    assert "+0.1350 ± 0.0050" in shown
    assert "unsupervised" not in shown
