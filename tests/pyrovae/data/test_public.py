"""Data sets that have a name: where their files are looked for."""

from pathlib import Path

from pyrovae.data.public import data_root


def test_the_root_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYROVAE_DATA", "/variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_root(tmp_path) == tmp_path
    assert data_root(None) == Path("/variable")
    monkeypatch.delenv("PYROVAE_DATA")
    assert data_root(None) == Path("/cache/pyrovae")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root(None) == Path.home() / ".cache" / "pyrovae"
