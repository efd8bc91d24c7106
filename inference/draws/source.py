"""The source of draws: a model with its latent and observed sites."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pyro import poutine
from pyro.poutine.messenger import Messenger

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.draws.draws import Key
from pyrovae.inference.draws.form import Forms
from pyrovae.inference.draws.plan import Values
from pyrovae.inference.pair.contract import ProgramLike, call
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.scoring import samples_plate
from pyrovae.inference.pair.tracing import sites

__all__ = ["Source"]


@dataclass(frozen=True)
class Source(ABC):
    """A model whose latents and observed sites are drawn.

    Attributes:
        model: the model.
        depth: how many dimensions the plates of the pair take.
        size: N, the number of all data points.
        latents: the forms of the latent sites.
        observed: the forms of the observed sites.
        kind: `"posterior"` or `"prior"`, the group of the latents.
    """

    model: ProgramLike
    depth: int
    size: int
    latents: Forms
    observed: Forms
    kind: ClassVar[str]

    @abstractmethod
    def draw(self, batch: Batch, rows: int, num_samples: int, common: Values) -> Values:
        """Draw the latents.

        Args:
            batch: named tensors of B data points, as the programs get them.
            rows: B.
            num_samples: S, the draws of each data point.
            common: the values of latents outside the plate "data", where they were drawn before.
        """

    @abstractmethod
    def predict(self, batch: Batch, rows: int, num_samples: int, values: Values) -> Values:
        """Draw the observed sites given the latents, where that is requested.

        Args:
            batch: named tensors of B data points, as the programs get them.
            rows: B.
            num_samples: S, the draws of each data point.
            values: the draws of the latents.
        """

    @property
    def shared(self) -> set[str]:
        """The latents outside the plate "data"."""
        return {name for name, form in self.latents.items() if form.is_global}

    def putting(self, values: Values) -> Messenger:
        """A handler that gives the latents these values in a run.

        Args:
            values: the draws of the latents.
        """
        latents = {key.name: value for key, value in values.items() if key.group == self.kind}
        unpacked = {name: self.latents[name].unpack(value) for name, value in latents.items()}
        return PutValues(lambda site: unpacked.get(site["name"]))

    def generate(self, given: Batch, rows: int, num_samples: int, values: Values) -> Values:
        """Run the model without data, with these values of latents, and keep what it draws.

        Args:
            given: what the model conditions on.
            rows: B.
            num_samples: S.
            values: the draws of latents; the model draws the others.

        Raises:
            PairError: the model has other sites without data.
        """
        with samples_plate(num_samples, self.depth), poutine.trace() as tracer, self.putting(values):
            call(self.model, given, size=rows, data_size=self.size)
        drawn, result = sites(tracer.trace), {}
        for group, forms in ((self.kind, self.latents), (f"{self.kind}_predictive", self.observed)):
            for name, form in forms.items():
                if name not in drawn:
                    raise PairError(
                        f"without data the model has no site '{name}', it has {', '.join(map(repr, drawn))}. Sample "
                        "the same sites whether the model is called with x or with size."
                    )
                result[Key(group, name)] = form.pack(drawn[name]["value"], num_samples, rows)
        return result
