"""Serving by ONNX: a trained pair, and that the server needs no torch."""

import inspect
import subprocess
import sys

import pytest

from pyrovae.examples import serve_onnx

ALONE = """
import sys
for name in ("torch", "pyro", "pyrovae"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
{source}
x = np.random.default_rng(0).integers(2, 256, (7, 1, 28, 28), dtype=np.uint8)
served = serve(Path(sys.argv[1]), {{"x": x}})
assert served.shape == (7, 1, 28, 28), served.shape
assert 0 <= served.min() < served.max() <= 1
"""


@pytest.mark.slow
def test_serve_onnx_trains_exports_and_serves_without_torch(example, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    done = example("serve_onnx.py", "--data", digits, "--hidden", "20", "--served", "5", folder=tmp_path)
    assert "served  5 data points" in done.stdout
    assert done.stdout.count("equal to the pair up to 1e-5") == 2
    assert done.pictures() == {"served"}
    code = ALONE.format(source=inspect.getsource(serve_onnx.serve))
    server = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert server.returncode == 0, server.stderr


@pytest.mark.slow
def test_serve_onnx_takes_a_run(example, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    example("vae.py", "--data", digits, "--hidden", "20", folder=tmp_path / "run")
    done = example("serve_onnx.py", "--run", str(tmp_path / "run"), "--served", "5", folder=tmp_path / "served")
    assert "served  5 data points" in done.stdout
