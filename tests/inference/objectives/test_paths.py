"""Path gradients: the mean of the plain gradient, with less noise."""

from functools import partial

import pytest
import torch

from pyrovae.inference import IWAE


def shift_gradients(ppca, objective, shift, stretch, rows=4000):
    """Independent draws of the gradient by the shift of the guide's mean, `(rows, 2)`: one a row of the batch."""
    x = ppca.data(1)["x"].expand(rows, -1)
    shifts = torch.tensor(shift, dtype=torch.float64).repeat(rows, 1).requires_grad_()
    objective.loss(ppca.model, ppca.guide(shifts, stretch), x)
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad(objective.differentiable_loss(ppca.model, ppca.guide(shifts, stretch), x), shifts)
    return gradient


@pytest.mark.parametrize(("gradient", "num_particles"), [("stl", 1), ("dreg", 1), ("dreg", 5), ("dreg", 20)])
def test_the_other_gradients_have_the_same_mean_and_less_noise(ppca, gradient, num_particles):
    torch.manual_seed(0)
    plain, other = (
        shift_gradients(ppca, IWAE(num_particles, gradient=g), [0.15, -0.1], 1.1) for g in ("plain", gradient)
    )
    error = (plain.var(0) + other.var(0)).div(len(plain)).sqrt()
    assert ((plain.mean(0) - other.mean(0)) / error).abs().max() < 4
    assert (other.std(0) < 0.8 * plain.std(0)).all()


@pytest.mark.parametrize(("gradient", "num_particles"), [("stl", 1), ("stl", 5), ("dreg", 5)])
def test_at_the_posterior_path_gradients_have_no_noise(ppca, gradient, num_particles):
    torch.manual_seed(0)
    at_posterior = shift_gradients(ppca, IWAE(num_particles, gradient=gradient), [0.0, 0.0], 1.0)
    assert at_posterior.abs().max() < 1e-9
    assert shift_gradients(ppca, IWAE(num_particles), [0.0, 0.0], 1.0).abs().mean() > 0.05


@pytest.mark.parametrize("direction", ["top-down", "bottom-up"])
def test_doubly_reparameterised_through_a_hierarchy(direction, learned, chain, guides_of_the_chain):
    """The lower guide depends on the draw above it: same mean of all gradients, less noise, the model's unchanged."""
    guide = guides_of_the_chain[direction]
    torch.manual_seed(0)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    for weight in weights.values():
        weight.requires_grad_()
    x = torch.randn(1, 3).double().expand(20_000, -1)
    shift = torch.tensor([0.2, -0.1, 0.6]).double().repeat(len(x), 1).requires_grad_()
    results = []
    for gradient in ("plain", "dreg"):
        objective = learned(IWAE(4, gradient=gradient), partial(chain, weights), partial(guide, shift), x)
        torch.manual_seed(1)
        value = objective.differentiable_loss(partial(chain, weights), partial(guide, shift), x)
        results.append(torch.autograd.grad(value, [shift, *weights.values()]))
    (plain, *model), (dreg, *same) = results
    error = (plain.var(0) + dreg.var(0)).div(len(x)).sqrt()
    assert ((plain.mean(0) - dreg.mean(0)) / error).abs().max() < 4
    assert (dreg.std(0) < plain.std(0)).all()
    torch.testing.assert_close(same, model)
