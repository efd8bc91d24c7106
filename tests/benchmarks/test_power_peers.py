"""The benchmark of the power of others' checks: what it does without their packages."""

import sys

import pytest


@pytest.fixture
def benchmark(load_script, monkeypatch):
    for module in ("sbi.diagnostics", "simuk"):
        monkeypatch.setitem(sys.modules, module, None)
    return load_script("power_peers")


@pytest.mark.parametrize("flags", [[], ["--local"]])
def test_no_table_without_any_peer(benchmark, capsys, flags):
    with pytest.raises(SystemExit, match="pip install 'sbi'"):
        benchmark.main(flags)
    assert capsys.readouterr().out == ""


def test_a_missing_peer_is_named_and_skipped(benchmark, capsys):
    checks = {"here": (("torch",), bool), "not here": (("torch", "simuk"), bool)}
    assert set(benchmark.present(checks)) == {"here"}
    assert "torch 2" in (said := capsys.readouterr().out)
    assert "pip install 'simuk'" in said
