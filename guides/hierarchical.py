"""Guides of hierarchies z1, ..., zL: from the bottom up, and from the top down beside the model."""

from collections.abc import Iterable

import pyro
import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models import Program
from pyrovae.models.hierarchical import HierarchicalVAE, LadderVAE

__all__ = ["BottomUpGuide", "TopDownGuide", "precision_weighted"]


class BottomUpGuide(Program):
    """q(z1 | x) q(z2 | z1) ... q(zL | z_{L-1}).

    Args:
        conditionals: `conditional(x) -> q(z1 | x)`, then `conditional(z_{l-1}) -> q(z_l | z_{l-1})`, from the
            bottom up.

    References: Rezende et al. (2014), arXiv:1401.4082; Burda et al. (2016), arXiv:1509.00519.
    """

    def __init__(self, conditionals: Iterable[nn.Module]) -> None:
        super().__init__()
        self.conditionals = nn.ModuleList(conditionals)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        drawn, z = {}, x
        with pyro.plate("data", len(x), dim=-1):
            for level, conditional in enumerate(self.conditionals, start=1):
                z = drawn[f"z{level}"] = pyro.sample(f"z{level}", conditional(z))  # z_l ~ q(z_l | z_{l-1}), z_0 = x
        return drawn


class TopDownGuide(Program):
    """q(zL | x) q(z_{L-1} | zL, x) ... q(z1 | z2, ..., zL, x): what a datum says, merged with the model's own path.

    A deterministic pass upwards, d_l = encoder_l(d_{l-1}) with d_0 = x, gives each level a message m_l(z_l), a normal
    that depends on d_l. The pass downwards is the model's own: q(z_l | z_{l+1}, ..., x) is the normalised product of
    p(z_l | z_{l+1}, ...) and m_l, in which precisions add up; at the top the message alone, so any prior goes there.

    The guide runs the model's networks and does not own them: its `state_dict` and `parameters` are those of the
    encoders and messages. Copy a pair in one `copy.deepcopy((model, guide))`, so that the copies belong together.

    Args:
        model: the hierarchy; its conditionals p(z_l | z_{l+1}, ...) are normal.
        encoders: networks from d_{l-1} to d_l, from the bottom up.
        messages: `message(d_l) -> m_l`, normal, from the bottom up.

    Raises:
        PairError: not one encoder and one message for each level; a distribution that is not normal.

    References: Sonderby et al. (2016), arXiv:1602.02282.
    """

    def __init__(
        self, model: HierarchicalVAE | LadderVAE, encoders: Iterable[nn.Module], messages: Iterable[nn.Module]
    ) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, so that its parameters are registered once, by the model
        self.encoders, self.messages = nn.ModuleList(encoders), nn.ModuleList(messages)
        if not len(self.encoders) == len(self.messages) == model.depth:
            raise PairError(
                f"TopDownGuide wants an encoder and a message for each of the model's {model.depth} levels, got "
                f"{len(self.encoders)} and {len(self.messages)}. Pass one of each per level, that of z1 first."
            )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        (model,) = self._model
        drawn: dict[str, Tensor] = {}
        said = {f"z{level}": normal for level, normal in enumerate(self.said(x), start=1)}
        top = f"z{model.depth}"

        def draw(name: str, prior: TorchDistribution) -> Tensor:
            q = said[name] if name == top else precision_weighted(prior, said[name])
            drawn[name] = pyro.sample(name, q)  # z_l ~ q(z_l | z_{l+1}, ..., zL, x)
            return drawn[name]

        with pyro.plate("data", len(x), dim=-1):
            model.top_down(draw)
        return drawn

    def said(self, x: Tensor) -> list[TorchDistribution]:
        """The messages m_1, ..., m_L of a datum."""
        d, messages = x, []
        for encoder, message in zip(self.encoders, self.messages, strict=True):
            d = encoder(d)
            messages.append(message(d))
        return messages

    def top(self, x: Tensor) -> TorchDistribution:
        """q(zL | x), the posterior that a VampPrior of the top level averages."""
        return self.said(x)[-1]

    def extra_repr(self) -> str:
        return f"through {type(self._model[0]).__name__}"


def precision_weighted(*normals: TorchDistribution) -> TorchDistribution:
    """The normalised product of diagonal normals: precisions add up, and weigh the means.

    Raises:
        PairError: one is not a diagonal normal.
    """
    parts = [normal.base_dist if isinstance(normal, dist.Independent) else normal for normal in normals]
    other = [part for part in parts if not isinstance(part, dist.Normal)]
    if other:
        raise PairError(
            f"precisions add up for normals, got a {type(other[0]).__name__}. Make the model's conditionals and the "
            "guide's messages ConditionalNormal(network), or take guides.BottomUpGuide."
        )
    precisions = [part.scale**-2 for part in parts]
    total = sum(precisions)
    loc = sum(precision * part.loc for precision, part in zip(precisions, parts, strict=True)) / total
    return dist.Normal(loc, total.rsqrt()).to_event(normals[0].event_dim)
