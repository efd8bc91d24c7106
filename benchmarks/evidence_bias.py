"""Bias-corrected importance sampling against annealed importance sampling (AIS), on the same held-out images of a VAE.

python examples/vae.py                                  # trains runs/vae on 4,000 digits
python benchmarks/evidence_bias.py --out runs/bias-demo.jsonl
python examples/iwae.py --particles 1 --data mnist --schedule cosine --batch-size 200 --lr 2e-3 --epochs 40
python benchmarks/evidence_bias.py --run runs/iwae --example iwae --data mnist --out runs/bias-mnist.jsonl

The images are the first of the test set and then, where there are fewer, of the validation set: the demo has 500 + 500.
They are binarised once. Each part of the images becomes a line of the file, so a second call goes on where the first
ended, and prints the tables at the end. With `--bounds N`, chains also go backwards on N of the images, from the end of
a long chain, and on N images that the model simulates, from exact draws of p(z | x): the gap bounds the error of AIS.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae import data
from pyrovae.examples import iwae, vae
from pyrovae.inference import Annealing, Estimate, EvidenceEstimate, annealed, evaluate, load_weights, sandwich

EXAMPLES = {"vae": (vae, []), "iwae": (iwae, ["--particles", "1"])}  # the example, and the flags of its pair
SAMPLED = ("log_evidence", "log_evidence_error", "khat", "log_evidence_bias", "log_evidence_bias_error")
ANNEALED = ("log_evidence", "log_evidence_error", "effective_sample_size", "acceptance")
STATIC = data.Binarize("static")


def held_out(digits: data.Dataset, images: int) -> Tensor:
    """The first images of the test set, then of the validation set, binarised once."""
    x = torch.cat([split["x"][:images] for split in (digits.test, digits.valid)])[:images]
    return STATIC.prepare({"x": x})["x"]


def measured(pair: Any, x: Tensor, how: Annealing, draws: Sequence[int], first: int) -> dict[str, Any]:
    """Both estimators of the part of the images that starts at the `first`, which also seeds them."""
    options: dict[str, Any] = {"transform": STATIC, "compile": True}
    found: dict[str, Any] = {"first": first}
    for count in draws:
        sampled = evaluate(*pair, {"x": x}, num_samples=count, seed=first, **options).per_datum
        found[str(count)] = {name: sampled[name].tolist() for name in SAMPLED}
    chains = annealed(*pair, {"x": x}, how, seed=first + 1, **options).per_datum
    return found | {name: chains[name].tolist() for name in ANNEALED}


def joined(parts: Sequence[dict[str, Any]], name: str) -> Tensor:
    """One quantity of all images."""
    return torch.tensor([value for part in parts for value in part[name]], dtype=torch.float64)


def row(parts: Sequence[dict[str, Any]], count: int) -> str:
    """Importance sampling with `count` draws, and AIS. The error of their difference is that over the images."""
    exact = joined(parts, "log_evidence")
    columns = {name: joined([part[str(count)] for part in parts], name) for name in SAMPLED}
    sampled = EvidenceEstimate.of(columns, count)
    apart = columns["log_evidence"] - columns["log_evidence_bias"] - exact
    paired = Estimate(apart.mean().item(), apart.std().item() / math.sqrt(len(apart)))
    chains = Estimate(
        exact.mean().item(), joined(parts, "log_evidence_error").square().sum().sqrt().item() / len(exact)
    )
    flag = f"{'up' if sampled.flagged else 'down'}, {sampled.unreliable:.0%}"
    return f"| {len(apart)} | {count:,} | {Estimate(*sampled)} | {sampled.bias} | {chains} | {paired} | {flag} |"


def table(parts: Sequence[dict[str, Any]], draws: Sequence[int]) -> str:
    """A row for each number of draws: of all images, of the first 200, and of the others."""
    head = (
        "| images | draws | importance sampling | bias | AIS | corrected - AIS | flag, k-hat > 0.7 |\n"
        + "|---" * 7
        + "|"
    )
    split = [part for part in parts if part["first"] < 200], [part for part in parts if part["first"] >= 200]
    rows = [row(some, count) for some in (parts, *split) if some for count in draws]
    size, rate = joined(parts, "effective_sample_size").mean(), joined(parts, "acceptance").mean()
    return "\n".join([head, *rows, f"AIS: {size:.1f} effective chains, acceptance {rate:.2f}"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/vae"), help="run folder of the example")
    parser.add_argument("--example", choices=EXAMPLES, default="vae", help="the example that made it")
    parser.add_argument("--data", default="digits", help="name of the data set")
    parser.add_argument("--root", help="folder of the data files")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, one for each part")
    parser.add_argument("--images", type=int, default=1000, help="number of held-out images")
    parser.add_argument("--part", type=int, default=100, help="images of a part")
    parser.add_argument("--draws", type=int, nargs="+", default=[500, 5000], help="draws of each image")
    parser.add_argument("--chains", type=int, default=16, help="chains of each image")
    parser.add_argument("--temperatures", type=int, default=100, help="number of temperatures")
    parser.add_argument(
        "--bounds", type=int, default=0, help="number of images with bounds on both sides, and of simulated ones"
    )
    args = parser.parse_args(argv)
    digits = data.load(args.data, root=args.root)
    example, flags = EXAMPLES[args.example]
    pair = example.pair(example.arguments(flags), digits.train)[:2]
    load_weights(*pair, args.run)
    how = Annealing(num_chains=args.chains, num_temperatures=args.temperatures)
    images = held_out(digits, args.images)
    parts = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    for first in range(len(parts) * args.part, len(images), args.part):
        parts.append(measured(pair, images[first : first + args.part], how, args.draws, first))
        with args.out.open("a") as file:
            file.write(json.dumps(parts[-1]) + "\n")
        print(row(parts[-1:], args.draws[-1]), flush=True)
    print(table(parts, args.draws))
    for real in ({"x": images[: args.bounds]}, None) if args.bounds else ():
        size = args.bounds if real is None else 2
        print(
            sandwich(*pair, size, how, data=real, transform=real and STATIC, num_samples=args.draws[-1], compile=True)
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
