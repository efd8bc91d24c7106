"""Check an environment into which only the wheel was installed: site-packages hold all of pyrovae and nothing else.

python tests/wheel.py ENVIRONMENT
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {"pyrovae": "", "models": "models", "guides": "guides", "inference": "inference", "examples": "examples"}
"""The folders of the sources, and where they are inside the installed package."""

SUFFIXES = (".py", ".typed", ".html", ".css", ".js")


def expected() -> list[Path]:
    """The files of the installed package, relative to it."""
    return [
        Path(place) / file.relative_to(ROOT / folder)
        for folder, place in FOLDERS.items()
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in SUFFIXES
    ]


def main(environment: str) -> int:
    """Compare the environment with the sources; the exit status is 0 where both agree."""
    (site,) = Path(environment).glob("lib/python*/site-packages")
    foreign = [entry.name for entry in site.iterdir() if not entry.name.startswith("pyrovae")]
    missing = [str(file) for file in expected() if not (site / "pyrovae" / file).is_file()]
    if foreign or missing:
        print(f"The wheel put {foreign} beside pyrovae, and left out {missing}.")
        return 1
    print(f"The wheel puts pyrovae into site-packages, {len(expected())} files, and nothing else.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
