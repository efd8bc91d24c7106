"""`save`, then `load`: the same pair, to the last bit, in a process that knows nothing of it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pyro
import pytest
import torch

import pyrovae

MEASURE = Path(__file__).with_name("measure.py")
measured = runpy.run_path(str(MEASURE))["measured"]


def test_a_loaded_pair_is_the_pair(pair, tmp_path):
    before, store = torch.get_rng_state(), dict(pyro.get_param_store())
    assert pyrovae.save(tmp_path / "pair", pair.model, pair.guide) == tmp_path / "pair"
    assert torch.equal(torch.get_rng_state(), before)
    loaded = pyrovae.load(tmp_path / "pair")
    assert torch.equal(torch.get_rng_state(), before)
    assert dict(pyro.get_param_store()) == store
    for mine, theirs in ((pair.model, loaded.model), (pair.guide, loaded.guide)):
        assert repr(mine) == repr(theirs)
        states = mine.state_dict(), theirs.state_dict()
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert not any(part.training for part in theirs.modules())


def test_a_loaded_pair_is_saved_as_the_same_bytes(pair, tmp_path):
    pyrovae.save(tmp_path / "one", pair.model, pair.guide)
    loaded = pyrovae.load(tmp_path / "one")
    pyrovae.save(tmp_path / "two", loaded.model, loaded.guide)
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_numbers(all_pairs, tmp_path):
    """`evaluate`, `posterior` and `generate`, bit for bit, for every pair of the suite."""
    wanted, threads = {}, torch.get_num_threads()
    torch.set_num_threads(1)
    for name, build in all_pairs.items():
        pair = build()
        pyrovae.save(tmp_path / name / "pair", pair.model, pair.guide)
        torch.save(pair.batch, tmp_path / name / "batch.pt")
        wanted[name] = measured(pair.model, pair.guide, pair.batch)
    torch.set_num_threads(threads)
    subprocess.run([sys.executable, "-P", str(MEASURE), str(tmp_path)], check=True)
    for name, mine in wanted.items():
        theirs = torch.load(tmp_path / name / "measured.pt")
        assert mine.keys() == theirs.keys(), name
        different = [part for part in mine if not same(mine[part], theirs[part])]
        assert not different, f"{name}: {different}"


def same(mine, theirs):
    return mine.dtype == theirs.dtype and torch.equal(mine.nan_to_num(), theirs.nan_to_num())
