"""Many rounds of training, evaluating and drawing: memory, handles, threads and temporary files stay flat."""

import gc
import os
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate, fit, posterior
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

ROUNDS = 200


def resident():
    """The memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def counted():
    """Open files, threads, temporary files and tensors."""
    gc.collect()
    tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    files = len([*Path("/proc/self/fd").iterdir()])
    return {"files": files, "threads": threading.active_count(), "tensors": tensors}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process as Linux tells it")
def test_two_hundred_rounds(tmp_path, captured_only, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    x = {"x": torch.rand(200, 12)}
    found = []
    for number in range(ROUNDS):
        model, guide = (
            VAE(priors.StandardNormal(2), likelihoods.Normal(12), MLP(2, 12, (8,))),
            NormalGuide(MLP(12, 4, (8,))),
        )
        fit(
            model,
            guide,
            x,
            epochs=2,
            batch_size=50,
            progress=False,
            compile=number % 2 == 0,
            run=tmp_path / "run",
            overwrite=True,
        )
        evaluate(model, guide, x, num_samples=5, compile=number % 2 == 0)
        posterior(model, guide, x, 5, out=tmp_path / "draws.nc")
        if number in (ROUNDS // 4, ROUNDS - 1):
            found.append((counted(), resident()))
    (early, before), (late, after) = found
    assert late == early
    assert after - before < 64
    assert {path.name.split("_")[0] for path in (tmp_path / "temporary").iterdir()} <= {"torchinductor"}  # its cache
    assert {path.name for path in tmp_path.iterdir()} == {"temporary", "run", "draws.nc"}
