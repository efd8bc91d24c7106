"""Topics by our programs and by their peers, on the same counts: coherence, diversity, held-out nats per word.

python benchmarks/topics.py CORPUS.tsv                       20 topics, seed 0, every method
python benchmarks/topics.py CORPUS.tsv --topics 50 --seeds 0 1 2 --methods etm lda
python benchmarks/topics.py CORPUS.tsv --split valid         scores on the validation documents, to choose settings by
python benchmarks/topics.py --report FILE                    the table of the lines that --out FILE wrote

The corpus has OCTIS's form (`pyrovae.data.load`). Each method is trained on the training split. NPMI is that of ten
words of each topic, on the test documents and on all documents; diversity is that of 25 words. Both are given for words
by p(word | topic), weight 1, and by a relevance of weight 0.8, for every method. Nats per word are those
of the test documents, by importance sampling with 100 draws of the method's own q(shares | x) for each; NMF has no
probabilities. `topic_peers.py` says how the peers are trained.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import topic_peers
import torch
from topic_peers import Found

from pyrovae import data
from pyrovae.display import plus_minus
from pyrovae.examples import topics as example
from pyrovae.inference import evaluate, fit, nats_per_word, relevance, topic_scores, topics

Json = dict[str, Any]

SHORT = 20
"""Documents of fewer words than this are short: topics collapse unless the rate weighs less, or a prior is strong."""

WEIGHTS = (1.0, 0.8)
"""The weights of relevance at which the words of topics are chosen, for every method."""


def ours(variant: str, *, short: Sequence[str]) -> Callable[[data.Dataset, int, int], Found]:
    """A variant of examples/topics.py with its defaults, and flags for short documents.

    They were chosen by the coherence and diversity on validation documents.
    """

    def train(dataset: data.Dataset, count: int, seed: int) -> Found:
        further = short if dataset.train["x"].sum(1).median() < SHORT else ()
        given = example.arguments(["--topics", str(count), *further])
        torch.manual_seed(seed)
        model, guide = example.pair(given, variant, dataset.train)
        adam = {"lr": given.lr, "betas": (given.beta1, 0.999)}
        options = {"epochs": given.epochs, "batch_size": given.batch_size, "seed": seed, "compile": False}
        loss = example.objective(given, variant, model, dataset.train)
        fit(
            model,
            guide,
            {"x": dataset.train["x"]},
            loss=loss,
            optim=(torch.optim.Adam, adam),
            progress=False,
            **options,
        )
        return Found(topic_scores(model), (model, guide, {"x": dataset.test["x"]}))

    return train


METHODS: dict[str, Callable[[data.Dataset, int, int], Found]] = {
    "prodlda": ours("prodlda", short=("--epochs", "20", "--kl-weight", "0.1")),
    "etm": ours("etm", short=("--epochs", "20", "--kl-weight", "0.05")),
    "dirichlet": ours("dirichlet", short=("--epochs", "20")),
    "pyro": topic_peers.pyro_prodlda,
    "lda": topic_peers.lda,
    "nmf": topic_peers.nmf,
    "nmf-frobenius": topic_peers.nmf_frobenius,
    "nmf-tfidf": topic_peers.nmf_tfidf,
}


def measured(dataset: data.Dataset, corpus: str, method: str, count: int, seed: int) -> Json:
    """One training, as one line of the file."""
    start = time.process_time()
    found = METHODS[method](dataset, count, seed)
    seconds = time.process_time() - start
    everything = torch.cat([split["x"] for split in dataset.splits.values()])
    line: Json = {"corpus": corpus, "method": method, "topics": count, "seed": seed, "seconds": round(seconds, 1)}
    for weight in WEIGHTS:
        scores = relevance(found.scores, dataset.train["x"], weight=weight)
        test, whole = (topics(scores, dataset.vocabulary.words, x) for x in (dataset.test["x"], everything))
        told = {"npmi": test.coherence, "npmi_all": whole.coherence, "diversity": test.diversity}
        line |= {f"{name}_{weight:g}": value for name, value in told.items()}
    if found.rows is not None:
        own = topics(found.rows, dataset.vocabulary.words, dataset.test["x"])
        line |= {"npmi_rows": own.coherence, "diversity_rows": own.diversity}
    if found.pair:
        evaluated = evaluate(*found.pair, num_samples=100, seed=seed)
        nats, bound = (nats_per_word(evaluated, dataset.test["x"], bound=which) for which in (False, True))
        line |= {"nats": nats.value, "nats_error": nats.error, "nats_bound": bound.value}
    return line


def cell(values: list[float]) -> str:
    """A mean over seeds, and their standard deviation."""
    return plus_minus(mean(values), stdev(values)) if len(values) > 1 else f"{mean(values):.3f}"


def table(lines: list[Json]) -> str:
    """The lines as a table in Markdown, means and standard deviations over seeds."""
    told = [f"{name}, {w:g}" for w in WEIGHTS for name in ("NPMI test", "NPMI all", "diversity")]
    head = ["corpus", "topics", "method", *told, "nats per word", "seeds", "seconds"]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for key in dict.fromkeys((line["corpus"], line["topics"], line["method"]) for line in lines):
        mine = [line for line in lines if (line["corpus"], line["topics"], line["method"]) == key]
        nats = [line["nats"] for line in mine if "nats" in line]
        names = [f"{name}_{w:g}" for w in WEIGHTS for name in ("npmi", "npmi_all", "diversity")]
        cells = [cell([line[name] for line in mine]) for name in names]
        cells += [cell(nats) if nats else "", str(len(mine)), f"{mean(line['seconds'] for line in mine):.0f}"]
        rows.append("| " + " | ".join([key[0], str(key[1]), key[2], *cells]) + " |")
    return "\n".join(rows)


def main() -> None:
    """Measure each method with each seed, write a line for each, and print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("corpus", nargs="*", help="files in OCTIS's form")
    p.add_argument("--topics", type=int, nargs="+", default=[20])
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    p.add_argument("--split", choices=("valid", "test"), default="test", help="the documents of the scores")
    p.add_argument("--out", type=Path, help="a file to which the lines are added")
    p.add_argument("--report", type=Path, help="print the table of such a file, and measure nothing")
    flags = p.parse_args()
    if flags.report:
        print(table([json.loads(line) for line in flags.report.read_text().splitlines()]))
        return
    lines = []
    for path in flags.corpus:
        dataset = data.load(path)
        dataset = replace(dataset, test=dataset.splits[flags.split])
        for count, method, seed in [(c, m, s) for c in flags.topics for m in flags.methods for s in flags.seeds]:
            lines.append(measured(dataset, Path(path).parent.name or path, method, count, seed))
            print(json.dumps(lines[-1]), flush=True)
            if flags.out:
                with flags.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))


if __name__ == "__main__":
    sys.exit(main())
