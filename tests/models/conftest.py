"""What the tests of models share: a Markov chain whose evidence and posterior are exact, and decoders of sentences."""

import itertools
import math

import pyro.distributions as dist
import pytest
import torch

from pyrovae.data.tokens import EOS, PAD, UNK
from pyrovae.models import LSTMDecoder, TransformerDecoder


class LinearChain:
    """z_t = A z_(t-1) + Q noise, x_t = z_t + R noise, z_0 = 0, in one dimension."""

    A, Q, R = 0.8, 0.7, 0.5

    def step(self, z):
        """p(z_t | z_(t-1))."""
        return dist.Normal(self.A * z, self.Q).to_event(1)

    def evidence(self, x):
        """log p(x_1 ... x_T) of one sequence `(T,)`, by the Kalman filter."""
        mean, variance, total = 0.0, 0.0, 0.0
        for value in x.tolist():
            mean, variance = self.A * mean, self.A * self.A * variance + self.Q * self.Q
            noisy = variance + self.R * self.R
            total += -0.5 * (math.log(2 * math.pi * noisy) + (value - mean) ** 2 / noisy)
            gain = variance / noisy
            mean, variance = mean + gain * (value - mean), (1 - gain) * variance
        return total

    def smoother(self, x):
        """Means and standard deviations of p(z_t | x_1 ... x_T), `(T,)`, by solving for all steps at once."""
        size = len(x)
        difference = torch.eye(size).double() - self.A * torch.diag(torch.ones(size - 1).double(), -1)
        covariance = (difference.T @ difference / self.Q**2 + torch.eye(size).double() / self.R**2).inverse()
        return covariance @ x / self.R**2, covariance.diag().sqrt()

    def messages(self, x, within):
        """p(x_t ... x_T | z_t) as a function of z_t, a normal density with this shift and precision, `(N, T, 2)`."""
        shift, precision = torch.zeros(len(x)).double(), torch.zeros(len(x)).double()
        messages = []
        for t in reversed(range(x.shape[1])):
            shift, precision = shift + x[:, t] / self.R**2, precision + 1 / self.R**2
            shift, precision = (torch.where(within[:, t], m, 0.0) for m in (shift, precision))
            messages.append(torch.stack([shift, precision], -1))
            total = precision + 1 / self.Q**2  # with z_t integrated out
            shift = self.A / self.Q**2 * shift / total
            precision = self.A**2 / self.Q**2 * (1 - 1 / self.Q**2 / total)
        return torch.stack(messages[::-1], 1)

    def posterior_step(self, z, message):
        """p(z_t | z_(t-1), x), given the message of the data from t on."""
        shift, precision = message.unsqueeze(-2).unbind(-1)
        total = precision + 1 / self.Q**2
        return dist.Normal((shift + self.A / self.Q**2 * z) / total, total.rsqrt()).to_event(1)


@pytest.fixture
def chain():
    return LinearChain()


@pytest.fixture
def ragged():
    """Four sequences of lengths 6, 1, 4 and 3, with one number at each step."""
    lengths = torch.tensor([6, 1, 4, 3])
    return {"x": torch.randn(4, 6).double(), "within": torch.arange(6) < lengths[:, None]}


# ------------------------------------------------------------------------------------------- sentences

WORDS, LATENT = 6, 2  # a decoder predicts EOS, UNK and two words
DECODERS = {
    "lstm": lambda latent=LATENT: LSTMDecoder(WORDS, latent, 3, 5),
    "transformer": lambda latent=LATENT: TransformerDecoder(WORDS, latent, 7, 4, 2, 1),
}


@pytest.fixture
def decoders():
    """The constructors of decoders, by name."""
    return DECODERS


@pytest.fixture(params=DECODERS)
def decoder(request):
    built = DECODERS[request.param]()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(2.0)  # far from uniform
    return built.eval()


@pytest.fixture
def every_sentence():
    """All sentences of at most `width` tokens, padded: words, then EOS, which a sentence of `width` words lacks."""

    def sentences(width):
        found = []
        for count in range(width + 1):
            for words in itertools.product(range(UNK, WORDS), repeat=count):
                found.append([*words, EOS, *[PAD] * width][:width])
        return torch.tensor(found)

    return sentences
