"""Serve reconstructions by ONNX: a trained pair becomes two files, which onnxruntime and NumPy run without torch.

python examples/serve_onnx.py                            train a small VAE on digits, offline
python examples/serve_onnx.py --run runs/vae             the pair of a run, of any example
python examples/serve_onnx.py --latent 2                 further flags are those of the example vae

encoder.onnx takes images as bytes and gives z and the parameters of q(z | x); decoder.onnx takes z and gives x.

Data: 5,000 real digits, offline. Time: 15 s of one core.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

import pyrovae
from pyrovae import plots
from pyrovae.errors import DataError
from pyrovae.examples import vae
from pyrovae.examples._shared import DefaultFolder, explained, load_data, main, save_picture, train, values
from pyrovae.export import to_onnx

__all__ = ["arguments", "serve"]

SMALL = ["--epochs", "15", "--hidden", "200", "--latent", "10"]
"""The flags of the example vae without `--run`."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example, and those of the example vae.

    Args:
        argv: the command line; by default that of the process.
    """
    p = explained(__doc__)
    p.add_argument("--run", type=Path, help="a run of any example, instead of training")
    p.add_argument("--served", type=values.positive_int, default=20, help="number of test data points that are served")
    own, further = p.parse_known_args(argv)
    parsed = vae.arguments([*SMALL, *further])
    if isinstance(parsed.out, DefaultFolder):
        parsed.out = DefaultFolder("runs/serve_onnx")
    return argparse.Namespace(**vars(parsed) | vars(own) | {"report": False})


def serve(folder: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Encode and decode data points: all that a server needs, without torch, Pyro and pyrovae.

    Args:
        folder: where encoder.onnx and decoder.onnx are.
        inputs: what the encoder takes, and what the decoder takes beside codes, by name.
    """
    import onnxruntime

    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{part}.onnx") for part in ("encoder", "decoder"))
    encoded = encoder.run(None, {one.name: inputs[one.name] for one in encoder.get_inputs()})
    found = inputs | {one.name: array for one, array in zip(encoder.get_outputs(), encoded, strict=True)}
    return decoder.run(["x"], {one.name: found[one.name] for one in decoder.get_inputs()})[0]


def pair(flags: argparse.Namespace) -> tuple[Any, Any, Any, dict[str, torch.Tensor]]:
    """Model, guide, transform and test data: those of the run, or of a small training."""
    if flags.run is None:
        dataset = load_data(flags)
        trained = train(*vae.pair(flags, dataset.train), dataset, flags)
        return trained.model, trained.guide, trained.transform, dict(dataset.test)
    run = pyrovae.load_run(flags.run)
    if run.data is None:
        raise DataError(f"--run requires the data of the run, but {run.note}.")
    return run.model, run.guide, run.transform, dict(run.data.test)


def script(flags: argparse.Namespace) -> None:
    """Train or load the pair, write it as ONNX, and serve test data from the files."""
    torch.manual_seed(flags.seed)
    model, guide, transform, test = pair(flags)
    few = {name: tensor[: flags.served] for name, tensor in test.items()}
    for path in to_onnx(flags.out, model, guide, few, transform=transform).values():
        print(f"onnx    {path}, {path.stat().st_size / 1e6:.1f} MB, equal to the pair up to 1e-5")
    start = perf_counter()
    served = serve(flags.out, {name: tensor.numpy() for name, tensor in few.items()})
    print(
        f"served  {len(served)} data points in {1000 * (perf_counter() - start):.0f} ms by onnxruntime and NumPy alone"
    )
    if few["x"].dim() == 4:
        level = few["x"] / 255 if few["x"].dtype == torch.uint8 else few["x"]
        save_picture(plots.reconstructions(level, torch.from_numpy(served)), flags.out, "served")


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
