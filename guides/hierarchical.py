"""Guides of hierarchies z1, ..., zL: from the bottom up, and from the top down through the model's own networks."""

from collections.abc import Iterable

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models.distributions.normal import precision_weighted
from pyrovae.models.hierarchical import Hierarchy
from pyrovae.models.program import Program

__all__ = ["BottomUpGuide", "TopDownGuide"]


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
    """q(zL | x) q(z_{L-1} | zL, x) ... q(z1 | z2, ..., zL, x), each the model's conditional times a message from x.

    A deterministic pass upwards, d_l = encoder_l(d_{l-1}) with d_0 = x, gives each latent a message m_l(z_l), a normal
    that depends on d_l. Going down, q(z_l | z_{l+1}, ..., x) is the normalised product of the model's p(z_l | z_{l+1},
    ...) and m_l, in which precisions add up. At the top it is the message alone, so the model may have any prior there.

    The guide runs the model's networks and does not own them: its `state_dict` and `parameters` are those of the
    encoders and messages. Copy a pair in one call, `copy.deepcopy((model, guide))`, so that the copies belong together.

    Args:
        model: the hierarchy, whose conditionals p(z_l | z_{l+1}, ...) are diagonal normals.
        encoders: networks from d_{l-1} to d_l, from the bottom up.
        messages: `message(d_l) -> m_l`, diagonal normals, from the bottom up.

    Raises:
        PairError: there is not one encoder and one message for each latent; in a call, a distribution is not normal.

    References: Sonderby et al. (2016), arXiv:1602.02282.
    """

    def __init__(self, model: Hierarchy, encoders: Iterable[nn.Module], messages: Iterable[nn.Module]) -> None:
        super().__init__()
        self._model = (model,)  # the tuple keeps the model's parameters from being registered a second time
        self.encoders, self.messages = nn.ModuleList(encoders), nn.ModuleList(messages)
        if not len(self.encoders) == len(self.messages) == model.depth:
            raise PairError(
                f"TopDownGuide requires an encoder and a message for each of the model's {model.depth} latents, got "
                f"{len(self.encoders)} and {len(self.messages)}. Pass one of each per latent, those of z1 first."
            )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        (model,) = self._model
        drawn: dict[str, Tensor] = {}
        messages = {f"z{level}": message for level, message in enumerate(self.bottom_up(x), start=1)}
        top = f"z{model.depth}"

        def draw(latent: str, prior: TorchDistribution) -> Tensor:
            q = messages[latent] if latent == top else precision_weighted(prior, messages[latent])
            drawn[latent] = pyro.sample(latent, q)  # z_l ~ q(z_l | z_{l+1}, ..., zL, x)
            return drawn[latent]

        with pyro.plate("data", len(x), dim=-1):
            model.top_down(draw)
        return drawn

    def bottom_up(self, x: Tensor) -> list[TorchDistribution]:
        """The messages m_1, ..., m_L given `x`, `(B, *event)`."""
        d, messages = x, []
        for encoder, message in zip(self.encoders, self.messages, strict=True):
            d = encoder(d)
            messages.append(message(d))
        return messages

    def top(self, x: Tensor) -> TorchDistribution:
        """q(zL | x), the posterior that a VampPrior of the top latent averages."""
        return self.bottom_up(x)[-1]

    def extra_repr(self) -> str:
        return f"through {type(self._model[0]).__name__}"
