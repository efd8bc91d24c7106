"""What a pair gives, as tensors by name. The test of `load` runs this file as a script, in a process of its own.

python measure.py FOLDER: each subfolder holds a pair and its batch, and gets `measured.pt`.
"""

import sys
from pathlib import Path

import torch

import pyrovae
from pyrovae.errors import PyrovaeError
from pyrovae.inference import evaluate, generate, posterior


def measured(model, guide, batch):
    """Every number of `evaluate`, `posterior` and `generate`; the type of the error where one refuses the pair."""
    size = len(batch["x"])
    given = {name: tensor for name, tensor in batch.items() if name != "x"}
    tools = {
        "evaluate": lambda: evaluate(model, guide, batch, num_samples=4).per_datum,
        "posterior": lambda: posterior(model, guide, batch, 3).group("posterior"),
        "generate": lambda: {"x": generate(model, size, given=given, mean=False)},
    }
    found = {}
    for name, tool in tools.items():
        try:
            found |= {f"{name} {part}": tensor for part, tensor in tool().items()}
        except PyrovaeError as error:
            found[f"{name} {type(error).__name__}"] = torch.zeros(())
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in Path(sys.argv[1]).iterdir():
        pair = pyrovae.load(folder / "pair")
        batch = torch.load(folder / "batch.pt")
        torch.save(measured(pair.model, pair.guide, batch), folder / "measured.pt")
