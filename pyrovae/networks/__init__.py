"""Networks: deterministic maps between event shapes. They know shapes, and no probability.

Every network here maps `(*, *in_shape)` to `(*, *out_shape)` for any number of leading dimensions, such as
`(S, B)`: one call evaluates S samples of B data points.
"""

from pyrovae.networks.bags import BagEncoder, UnitBatchNorm
from pyrovae.networks.bijections import Coupling, InverseAutoregressive
from pyrovae.networks.blocks import ConvBlock, ConvHead, DenseBlock
from pyrovae.networks.causal import CausalTransformer
from pyrovae.networks.codebooks import Codebook, Levels
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP, GatedMLP, SkipMLP
from pyrovae.networks.joint import JointMLP
from pyrovae.networks.normed import NormedMLP
from pyrovae.networks.recurrent import BackwardRNN
from pyrovae.networks.residual import ResidualConvDecoder, ResidualConvEncoder
from pyrovae.networks.shape import Shape

__all__ = [
    "MLP",
    "BackwardRNN",
    "BagEncoder",
    "CausalTransformer",
    "Codebook",
    "ConvBlock",
    "ConvDecoder",
    "ConvEncoder",
    "ConvHead",
    "Coupling",
    "DenseBlock",
    "GatedMLP",
    "InverseAutoregressive",
    "JointMLP",
    "Levels",
    "NormedMLP",
    "ResidualConvDecoder",
    "ResidualConvEncoder",
    "Shape",
    "SkipMLP",
    "UnitBatchNorm",
]
