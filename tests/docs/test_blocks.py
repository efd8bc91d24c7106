"""The Python blocks of the pages run as printed, on data that need no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("how_to/*.md")])
ALONE = {"tasks.md"}  # pages whose sections are scripts of their own
ELSEWHERE = {"extending.md"}  # tests/test_extending.py runs it, and looks at its results


def blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def scripts():
    """Each page's blocks, or each section's, joined in their order."""
    found = []
    for page in PAGES:
        text = page.read_text()
        parts = re.split(r"^## ", text, flags=re.MULTILINE) if page.name in ALONE else [text]
        for part in parts:
            if blocks(part) and page.name not in ELSEWHERE:
                title = part.splitlines()[0] if len(parts) > 1 else ""
                found.append(pytest.param("\n".join(blocks(part)), id=" ".join([page.stem, title]).strip()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts())
def test_the_blocks_run_as_printed(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=lambda page: page.stem)
def test_the_blocks_compile_and_their_imports_work(page):
    for block in blocks(page.read_text()):
        compile(block, page.name, "exec")
        exec("\n".join(re.findall(r"^from pyrovae\S* import .*$", block, re.MULTILINE)), {})
