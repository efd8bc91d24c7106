"""The model card of a pair: README.md, whose front matter the hub reads."""

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch

from pyrovae.data import Dataset
from pyrovae.errors import FolderError
from pyrovae.inference.evidence.estimates import Evaluation
from pyrovae.models.likelihoods.bernoulli import is_relaxed
from pyrovae.version import __version__

__all__ = ["Card"]

NAMES = ("elbo", "rate", "distortion", "log_evidence")
MEANINGS = {
    "elbo": "-(rate + distortion), a lower bound of log p(x)",
    "rate": "KL(q(z given x), p(z))",
    "distortion": "-E log p(x given z)",
    "log_evidence": "log p(x), importance sampling",
}


@dataclass(frozen=True)
class Card:
    """What a reader of a pair should know; `save` adds the pair itself, the versions, and how to load it.

    Attributes:
        title: the name of the pair; that of the model's class if empty.
        description: what it is for, in Markdown.
        data: the data set it was trained on, or a sentence about it.
        evaluation: the result of `evaluate`, on data that were not trained on.
        command: how it was made, such as a command line.
        license: its licence, as the hub spells it, such as `"apache-2.0"`.
        tags: words by which the hub finds it.

    Raises:
        FolderError: an entry is of another type.
    """

    title: str = ""
    description: str = ""
    data: Dataset | str = ""
    evaluation: Evaluation | None = None
    command: str = ""
    license: str = ""
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        texts = (self.title, self.description, self.command, self.license)
        right = all(isinstance(text, str) for text in texts) and isinstance(self.evaluation, Evaluation | None)
        plain = not isinstance(self.tags, str) and all(isinstance(tag, str) for tag in self.tags)
        if not (right and plain and isinstance(self.data, Dataset | str)):
            raise FolderError(
                "Card requires texts, a Dataset or a text as data, the result of evaluate, and a list of tags. Write "
                "Card(data=data, evaluation=evaluate(model, guide, data.test))."
            )

    def text(self, model: Any, guide: Any, transform: Any = None, own: Sequence[type] = ()) -> str:
        """The content of README.md.

        Args:
            model, guide: the pair.
            transform: what training applied to a batch.
            own: the classes that a reader has to list.
        """
        title = self.title or _name(model)
        parts = [
            _front_matter(self, title),
            f"# {title}",
            self.description,
            f"A model `{_name(model)}` and a guide `{_name(guide)}` of pyrovae.",
            _loading(own),
            "Loading executes nothing that lies in the folder.",
            _data(self.data, transform),
            _table(self.evaluation, model),
            f"## How it was made\n\n```\n{self.command}\n```" if self.command else "",
            f"## Versions\n\n{_versions()}",
            f"## Programs\n\n```\n{_shown(model)}\n\n{_shown(guide)}\n```",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def _loading(own: Sequence[type]) -> str:
    """The lines that load the pair."""
    classes = f", classes=[{', '.join(kind.__name__ for kind in own)}]" if own else ""
    line = f'pair = pyrovae.load("PATH OF THIS FOLDER"{classes})  # pair.model, pair.guide'
    return f"```python\nimport pyrovae\n\n{line}\n```"


def _front_matter(card: Card, title: str) -> str:
    """The entries that the hub reads, as YAML: each value is JSON, which YAML contains."""
    entries: dict[str, Any] = {"library_name": "pyrovae", "tags": ["pyrovae", "variational-autoencoder", *card.tags]}
    if card.license:
        entries["license"] = card.license
    if card.evaluation is not None:
        entries["model-index"] = [{"name": title, "results": [_results(card)]}]
    lines = [f"{name}: {json.dumps(value)}" for name, value in entries.items()]
    return "\n".join(["---", *lines, "---"])


def _results(card: Card) -> dict[str, Any]:
    data = card.data.name if isinstance(card.data, Dataset) else card.data or "unnamed"
    found = {name: getattr(card.evaluation, name).value for name in NAMES}
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    metrics = [{"type": name, "value": value, "name": MEANINGS[name]} for name, value in finite.items()]
    return {"task": {"type": "density-estimation"}, "dataset": {"type": data, "name": data}, "metrics": metrics}


def _data(data: Dataset | str, transform: Any) -> str:
    described = data.describe() if isinstance(data, Dataset) else data
    lines = [described, f"Transform: `{transform!r}`." if transform is not None else ""]
    return "\n\n".join(["## Data", *filter(None, lines)]) if any(lines) else ""


def _table(evaluation: Evaluation | None, model: Any) -> str:
    """The estimates, and what says whether they can be trusted."""
    if evaluation is None:
        return ""
    rows = [f"| {name} | {getattr(evaluation, name)} | {MEANINGS[name]} |" for name in NAMES]
    rows += [f"| {name} | {number} | {words} |" for name, number, words in evaluation.log_evidence.notes]
    if not math.isnan(evaluation.unreliable):
        rows.append(
            f"| k-hat > 0.7 | {100 * evaluation.unreliable:.0f} % | of the data: log_evidence is too low there |"
        )
    size = len(evaluation.per_datum["elbo"])
    lines = [
        "## Evaluation",
        f"Nats per data point, {size:,} data points, {evaluation.num_samples} draws for each.",
        "\n".join(["| | value | meaning |", "|---|---|---|", *rows]),
    ]
    if is_relaxed(model):
        lines.append("The likelihood is a cross-entropy of grey levels, not a density: these numbers bound nothing.")
    return "\n\n".join(lines)


def _versions() -> str:
    versions = {"pyrovae": __version__, "torch": torch.__version__, "pyro": pyro.__version__}
    return ", ".join(f"{n} {v}" for n, v in {**versions, "python": platform.python_version()}.items())


def _name(program: Any) -> str:
    return getattr(program, "__name__", type(program).__name__)


def _shown(program: Any) -> str:
    return repr(getattr(program, "__self__", program)).replace("```", "'''")
