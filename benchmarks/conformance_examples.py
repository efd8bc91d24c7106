"""Which example programs of Pyro `conformance.py` runs, and the data that they would download."""

import datetime
import os
import pickle
from pathlib import Path

import numpy as np
import torch

__all__ = ["EXAMPLES", "write_data"]

HMM = "hmm.py --num-steps=60 --truncate=10"
CJS = "capture_recapture/cjs.py --num-steps=60"
DEF = "sparse_gamma_def.py --num-epochs=60 --eval-particles=2 --eval-frequency=30"
MUE = "--test --small --no-plots --no-save"
EPIDEMIC = "--nojit -np=128 -ss=50 -n=4 -d=20 -p=1000 -f 2 --svi"

EXAMPLES = [
    "vae/vae.py --num-epochs=1",
    "vae/vae_comparison.py --num-epochs=1",
    "vae/ss_vae_M2.py --num-epochs=1 --sup-num=600",
    "vae/ss_vae_M2.py --num-epochs=1 --sup-num=600 --aux-loss",
    "vae/ss_vae_M2.py --num-epochs=1 --sup-num=600 --enum-discrete=parallel",
    "vae/ss_vae_M2.py --num-epochs=1 --sup-num=600 --enum-discrete=sequential",
    "cvae/main.py --num-quadrant-inputs=1 --num-epochs=1",
    "lda.py --num-steps=100 --num-words=100 --num-docs=100 --num-words-per-doc=8",
    *(f"{DEF} --guide {guide}" for guide in ("custom", "auto", "easy")),
    "air/main.py --num-steps=60",
    "air/main.py --num-steps=60 --no-baseline",
    "dmm.py --num-epochs=12",
    "dmm.py --num-epochs=12 --num-iafs=1",
    "dmm.py --num-epochs=12 --tmc --tmc-num-samples=2",
    "dmm.py --num-epochs=12 --tmcelbo --tmc-num-samples=2",
    "eight_schools/svi.py --num-epochs=100",
    "toy_mixture_model_discrete_enumeration.py --num-steps=100 --num-obs=1000",
    "neutra.py -n 100 --num-warmup 10 --num-samples 10",
    "scanvi/scanvi.py --num-epochs 50 --dataset mock",
    "svi_horovod.py --num-epochs=2 --size=10000 --no-horovod",
    *(f"{HMM} --model={model}" for model in range(8)),
    f"{HMM} --model=6 --raftery-parameterization",
    *(f"{HMM} --model={model} --tmc --tmc-num-samples=2" for model in (1, 3)),
    *(f"{CJS} -m {model}" for model in range(1, 6)),
    f"{CJS} -m 1 --tmc --tmc-num-samples=2",
    "contrib/autoname/mixture.py --num-epochs=100",
    "contrib/autoname/scoping_mixture.py --num-epochs=100",
    "contrib/autoname/tree_data.py --num-epochs=100",
    "contrib/cevae/synthetic.py --num-epochs=10",
    f"contrib/epidemiology/sir.py {EPIDEMIC}",
    f"contrib/epidemiology/regional.py {EPIDEMIC} -r=3",
    "contrib/forecast/bart.py --num-steps=60 --stride=99999 --num-samples=10",
    *(f"contrib/funsor/hmm.py --num-steps=60 --truncate=10 --model={model}" for model in (0, 1)),
    f"contrib/mue/FactorMuE.py {MUE} --include-stop",
    f"contrib/mue/ProfileHMM.py {MUE}",
    "contrib/oed/ab_test.py --num-vi-steps=60 --num-bo-steps=1",
]
"""Their files, below `examples/`, and arguments; each ends by itself, or is stopped after some steps."""

TRAIN, TEST = 20_000, 2_000


def write_data(folder: Path) -> None:
    """Write the files that examples look for before they download: digits, chorales, faces, trains.

    Digits are the first of MNIST where `PYROVAE_DATA` names it. All else is random, of the shape of the real data.

    Args:
        folder: Pyro's data directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    _write_digits(folder / "MNIST" / "raw", rng)
    (folder / "MNISTCached").symlink_to("MNIST")
    canvases = rng.integers(0, 256, (1000, 50, 50), dtype=np.uint8)
    labels = np.empty(len(canvases), dtype=object)
    labels[:] = [[0] * int(n) for n in rng.integers(0, 3, len(canvases))]
    np.savez_compressed(folder / "multi_mnist_uint8.npz", x=canvases, y=labels)
    np.savetxt(folder / "faces_training.csv", rng.integers(0, 256, (320, 4096)), fmt="%d", delimiter=",")
    _write_chorales(folder / "jsb_chorales.pkl")
    counts = torch.poisson(torch.full((24 * 7 * 16, 3, 3), 20.0), torch.Generator().manual_seed(0))
    trains = {"stations": ["12TH", "EMBR", "MONT"], "start_date": datetime.datetime(2011, 1, 1), "counts": counts}
    torch.save(trains, folder / "bart_full.pkl")


def _write_digits(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    source = Path(os.environ.get("PYROVAE_DATA", "")) / "MNIST" / "raw"
    for part, size in (("train", TRAIN), ("t10k", TEST)):
        images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        if (source / images).is_file() and (source / labels).is_file():
            pixels = (source / images).read_bytes()[16 : 16 + 784 * size]
            classes = (source / labels).read_bytes()[8 : 8 + size]
        else:
            pixels, classes = rng.bytes(784 * size), rng.integers(0, 10, size, dtype=np.uint8).tobytes()
        head = [number.to_bytes(4, "big") for number in (0x803, size, 28, 28, 0x801, size)]
        (folder / images).write_bytes(b"".join(head[:4]) + pixels)
        (folder / labels).write_bytes(b"".join(head[4:]) + classes)


def _write_chorales(path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for split, size in (("train", 60), ("valid", 20), ("test", 20)):
        lengths = torch.randint(10, 40, (size,), generator=generator)
        sequences = [(torch.rand(int(length), 88, generator=generator) < 0.05).float() for length in lengths]
        splits[split] = {"sequence_lengths": lengths, "sequences": sequences}
    with path.open("wb") as file:
        pickle.dump(splits, file)
