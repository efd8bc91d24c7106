"""History."""

import csv
import io
from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """What training did, one row per epoch, in nats per datum.

    A row has `epoch`, `step` (updates so far), `lr`, `loss` (the objective's mean over the epoch's batches),
    `train_elbo` (the ELBO of the same draws, whatever is optimised; absent where the loss does not tell it), and with
    validation data `elbo`, `rate`, `distortion` on them.

    Attributes:
        rows: one dict per epoch.
        best_epoch: the epoch with the highest validation ELBO, None without validation data.
        stopped: `"epochs"` when all were run, `"patience"` when the validation ELBO no longer rose.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = "epochs"

    def __getitem__(self, name: str) -> list[float]:
        return [row[name] for row in self.rows]

    def csv(self) -> str:
        """The rows as comma-separated values with a header."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]) if self.rows else ["epoch"])
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()
