"""Rolling: a graph with loops computes what the graph with one copy per turn computes, random numbers included."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn

from pyrovae.data.tokens import EOS, PAD
from pyrovae.guides import Combiner, MarkovGuide, NormalGuide, SentenceEncoder
from pyrovae.inference import ELBO
from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering.lower import lower
from pyrovae.inference.compile.rolling.roll import rolled, scan_is_right, with_loops
from pyrovae.inference.compile.state.watch import Watch
from pyrovae.inference.training.gradients import LossGradients
from pyrovae.models import (
    Autoregressive,
    DeepMarkovModel,
    GatedTransition,
    LSTMDecoder,
    TextVAE,
    likelihoods,
    priors,
)
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN

pytestmark = pytest.mark.skipif(not scan_is_right(), reason="the scan of this torch gives other numbers")

STEPS = 12
SCAN = torch.ops.higher_order.scan


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def loops_of(module):
    return [node for node in module.graph.nodes if node.target is SCAN]


def run(module, inputs, state):
    """The results, what the state became, and the random numbers after it."""
    state = [tensor.detach().clone() for tensor in state]
    torch.manual_seed(3)
    with torch.no_grad():
        results = module(*inputs, *state)
    return results, state, torch.rand(())


def check_rolled(fn, *inputs, loops):
    """The rolled graph has so many loops, and computes what the captured one computes."""
    captured = capture(fn, list(inputs), Watch([]))
    module = rolled(captured.module)
    assert len(loops_of(module)) == loops
    wanted, got = (run(m, inputs, captured.state) for m in (captured.module, module))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
    return module


def gradients(model, guide, *inputs, loss):
    """Loss and gradients of a pair, as a function of its inputs."""
    parameters = [*model.parameters(), *guide.parameters()]
    both = LossGradients(loss, parameters)
    return lambda *batch: both(model, guide, batch, {})


# ------------------------------------------------------------------------------------------ programs with loops


def test_a_chain_with_gradients_through_time():
    weight = torch.randn(3, 3, requires_grad=True)

    def fn(x):
        h = torch.zeros(4, 3)
        for t in range(STEPS):
            h = torch.tanh(h @ weight + x[:, t])
        return torch.autograd.grad(h.sum(), weight)

    module = check_rolled(fn, torch.randn(4, STEPS, 3), loops=2)
    products = [node for node in module.graph.nodes if node.target is torch.ops.aten.mm.default]
    sizes = [node.args[0].meta["val"].shape[1] for node in products]
    assert max(sizes) >= 4 * (STEPS - 2)  # the gradient of the weight is one product of all turns


def test_random_numbers_are_drawn_in_the_same_order():
    weight = torch.randn(3, 3)

    def fn(x):
        z, path = x, []
        for _ in range(STEPS):
            z = dist.Normal(z @ weight, 1.0).rsample()
            path.append(z)
        return torch.stack(path, 1), torch.stack(path, 1).flip(1), path[3], torch.rand(3)

    check_rolled(fn, torch.randn(2, 3), loops=1)


def test_the_first_and_last_turns_may_differ():
    weight = torch.randn(3, 3)

    def fn(x):
        h = torch.zeros(4, 3)
        for t in range(STEPS):
            h = torch.tanh(h @ weight + x[t]) if 0 < t < STEPS - 1 else torch.relu(h @ weight - x[t])
        return h

    check_rolled(fn, torch.randn(STEPS, 4, 3), loops=1)


def test_time_may_run_backwards_and_in_strides():
    weight = torch.randn(3, 3)

    def fn(x):
        h, path = torch.zeros(4, 3), []
        for t in reversed(range(0, 2 * STEPS, 2)):
            h = torch.tanh(h @ weight + x[:, t : t + 1].squeeze(1))
            path.append(h.t())
        return torch.stack(path, -1), torch.cat([part.unsqueeze(0) for part in path])

    check_rolled(fn, torch.randn(4, 2 * STEPS, 3), loops=1)


class HMM(nn.Module):
    """A user's model: a loop over time in `pyro.markov`, with a site for each step."""

    def __init__(self):
        super().__init__()
        self.step, self.emission = nn.Linear(2, 2), nn.Linear(2, 3)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = torch.zeros(len(x), 2)
            for t in pyro.markov(range(x.shape[1])):
                z = pyro.sample(f"z_{t}", dist.Normal(torch.tanh(self.step(z)), 1.0).to_event(1))
                pyro.sample(f"x_{t}", dist.Normal(self.emission(z), 0.5).to_event(1), obs=x[:, t])


class GRUGuide(nn.Module):
    """q(z_t | z_(t-1), x_t ... x_T), by a GRU cell and in-place operations of torch."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRUCell(3, 4), nn.Linear(6, 4)

    def forward(self, x):
        h, states = torch.zeros(len(x), 4), []
        for t in reversed(range(x.shape[1])):
            h = self.gru(x[:, t], h)
            states.append(h)
        with pyro.plate("data", len(x)):
            z = torch.zeros(len(x), 2)
            for t, state in enumerate(reversed(states)):
                loc, scale = self.out(torch.cat([z, state], -1)).chunk(2, -1)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, scale.exp()).to_event(1))


def test_a_loop_of_pyro_sites_and_a_guide_of_a_gru_cell():
    model, guide, x = HMM(), GRUGuide(), torch.randn(5, STEPS, 3)
    loss = Trace_ELBO().differentiable_loss
    check_rolled(gradients(model, guide, loss=lambda *pair: loss(*pair)), x, loops=8)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_a_deep_markov_model_of_ragged_sequences(kind):
    model = DeepMarkovModel(GatedTransition(2, 3), likelihoods.Bernoulli((3,)), MLP(2, (3,), (4,)), 2)
    guide = MarkovGuide(BackwardRNN(3, 5, kind), Combiner(2, 5), 2)
    x, lengths = torch.rand(4, STEPS, 3).round(), torch.tensor([STEPS, 3, 1, 7])
    within = torch.arange(STEPS) < lengths[:, None]
    check_rolled(gradients(model, guide, loss=ELBO(analytic=True)), x, within, loops=4)


def test_sentences_with_dropout():
    model = TextVAE(priors.StandardNormal(2), Autoregressive(LSTMDecoder(9, 2, 3, 4, dropout=0.3), STEPS))
    guide = NormalGuide(SentenceEncoder(9, 4, 3, 5, dropout=0.3))
    x = torch.randint(4, 9, (6, STEPS))
    x[:, -1], x[1, 5], x[1, 6:] = EOS, EOS, PAD
    fn = gradients(model, guide, loss=ELBO(analytic=True))
    fn(x)  # the first call of an objective also looks at the pair
    captured = capture(fn, [x], Watch([]))
    got, _, _ = run(rolled(captured.module), [x], captured.state)
    torch.manual_seed(3)
    loss, wanted = fn(x)
    torch.testing.assert_close(got, [loss.detach(), *wanted], rtol=1e-9, atol=1e-12)


def test_state_that_changes_outside_of_the_loop():
    weight, count = torch.randn(3, 3), torch.zeros(3)

    def fn(x):
        count.add_(1)
        for _ in range(STEPS):
            x = torch.tanh(x @ weight + count)
        count.add_(x[0])
        return x * count

    check_rolled(fn, torch.randn(2, 3), loops=1)


def test_a_sum_of_many_terms_is_one_sum():
    weight = torch.randn(3, 3)

    def fn(x):
        total, h = torch.zeros(()), x
        for _ in range(STEPS):
            h = torch.tanh(h @ weight)
            total = total - h.square().sum() + h.sum()
        return total

    check_rolled(fn, torch.randn(2, 3), loops=1)


# ---------------------------------------------------------------------------------------- what stays as it is


def test_nothing_repeats():
    weight = torch.randn(3, 3)
    assert rolled(capture(lambda x: torch.tanh(x @ weight).sum(), [torch.randn(2, 3)], Watch([])).module) is None


def test_few_turns_and_different_weights_stay():
    weights = [torch.randn(3, 3) for _ in range(STEPS)]

    def layers(x):
        for weight in weights:
            x = torch.tanh(x @ weight)
        return x

    def few(x):
        for _ in range(3):
            x = torch.tanh(x @ weights[0])
        return x

    for fn in (layers, few):
        assert rolled(capture(fn, [torch.randn(2, 3)], Watch([])).module) is None


def test_a_turn_may_read_two_turns_back():
    weight = torch.randn(3, 3)

    def fibonacci(x):
        before = x
        for _ in range(STEPS):
            x, before = torch.tanh(x @ weight + before), x
        return x

    check_rolled(fibonacci, torch.randn(2, 3), loops=1)


def test_turns_that_write_outside_or_read_many_turns_back_stay():
    weight, path = torch.randn(3, 3), torch.zeros(STEPS, 2, 3)

    def writes(x):
        for t in range(STEPS):
            x = torch.tanh(x @ weight)
            path[t] = x
        return x

    def lagged(x):
        found = [x] * 5
        for _ in range(STEPS):
            found.append(torch.tanh(found[-1] @ weight + found[-2] * found[-4]))
        return found[-1]

    for fn in (writes, lagged):
        captured = capture(fn, [torch.randn(2, 3)], Watch([]))
        module = rolled(captured.module)
        assert module is None or not loops_of(module)


def test_a_graph_whose_loops_do_not_compile_is_compiled_as_it_was(caplog):
    weight, x = torch.randn(3, 3), torch.randn(2, 3)

    def fn(x):
        for _ in range(STEPS):
            x = torch.tanh(x @ weight)
        return x

    def compiler(module, inputs):
        if loops_of(module):
            raise RuntimeError("no loops here")
        return module

    captured = capture(fn, [x], Watch([]))
    assert with_loops(captured.module, compiler, [x, weight]) is None
    assert "no loops here" in caplog.text


def test_loops_compile():
    weight = torch.randn(3, 3, requires_grad=True)

    def fn(x):
        z = x[:, 0]
        for t in range(STEPS):
            z = dist.Normal(torch.tanh(z @ weight + x[:, t]), 0.5).rsample()
        return z.detach(), *torch.autograd.grad(z.sum(), weight)

    x = torch.randn(2, STEPS, 3)
    captured = capture(fn, [x], Watch([]))
    compiled = lower(captured, [x], {})
    torch.manual_seed(0)
    wanted = fn(x)
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(tuple(compiled(x, *(s.detach() for s in captured.state))), wanted)
