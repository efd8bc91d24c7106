"""Which models of other libraries docs/peers.md lacks, by the libraries' own lists.

    python benchmarks/peer_models.py --pythae DIR --pytorch-vae DIR --multivae DIR --scvi DIR --pyro DIR --numpyro DIR

Each DIR is a clone of the library; those that are not given are left out. The exit status is 1 where
the page lacks one.
"""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "peers.md"
BASES = re.compile(r"^(Auto|Base)|[Cc]onfig$|^utils$")
"""Names in the lists that are no models."""


def exported(file: Path) -> Iterator[str]:
    """The names in `__all__` of a Python file.

    Args:
        file: an `__init__.py`.
    """
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            yield from (name for name in ast.literal_eval(node.value) if not BASES.search(name))


def registered(file: Path) -> Iterator[str]:
    """The keys of `vae_models` in PyTorch-VAE's `models/__init__.py`.

    Args:
        file: that file.
    """
    yield from re.findall(r"'(\w+)':\s*\w+", file.read_text())


def examples(folder: Path) -> Iterator[str]:
    """The examples of Pyro or NumPyro that train networks by SVI: the file, or its folder for `main`.

    Args:
        folder: `examples` of a clone.
    """
    for file in folder.rglob("*.py"):
        text = file.read_text()
        if re.search(r"\bSVI\b", text) and re.search(r"\bnn\b|\bstax\b|\bflax\b|decoder", text):
            yield file.parent.name if file.stem in ("main", "train_cvae") else file.stem


LISTS: dict[str, Callable[[Path], Iterator[str]]] = {
    "pythae": lambda clone: exported(clone / "src/pythae/models/__init__.py"),
    "pytorch-vae": lambda clone: registered(clone / "models/__init__.py"),
    "multivae": lambda clone: exported(clone / "src/multivae/models/__init__.py"),
    "scvi": lambda clone: exported(clone / "src/scvi/model/__init__.py"),
    "pyro": lambda clone: examples(clone / "examples"),
    "numpyro": lambda clone: examples(clone / "examples"),
}
"""How to read the list of each library."""


def main() -> int:
    """Print the models that the page lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for library in LISTS:
        parser.add_argument(f"--{library}", type=Path, metavar="DIR")
    clones = {library: clone for library, clone in vars(parser.parse_args()).items() if clone}
    words = set(re.findall(r"[\w-]+", PAGE.read_text()))
    lacking = {}
    for library, clone in clones.items():
        listed = sorted(set(LISTS[library.replace("_", "-")](clone)))
        lacking[library] = [name for name in listed if name not in words]
        print(f"{library}: {len(listed)} models, {len(lacking[library])} not on the page", *lacking[library])
    return int(any(lacking.values()))


if __name__ == "__main__":
    sys.exit(main())
