"""Check an environment into which only the wheel was installed: its site-packages hold pyrovae and nothing else.

python tests/wheel.py ENVIRONMENT
"""

import sys
from pathlib import Path

EXPECTED = ["__init__.py", "cli.py", "data", "errors.py", "guides", "inference", "models", "networks.py", "plots.py"]
TEMPLATES = ["report/page.html", "report/page.css", "report/page.js"]


def main(environment: str) -> int:
    (site,) = Path(environment).glob("lib/python*/site-packages")
    foreign = [entry.name for entry in site.iterdir() if not entry.name.startswith("pyrovae")]
    missing = [
        name for name in [*EXPECTED, "py.typed", "version.py", *TEMPLATES] if not (site / "pyrovae" / name).exists()
    ]
    if foreign or missing:
        print(f"the wheel put {foreign} beside pyrovae, and left out {missing}")
        return 1
    print("the wheel puts nothing but pyrovae into site-packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
