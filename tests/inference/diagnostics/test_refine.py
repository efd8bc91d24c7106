"""A guide refined for each data point."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import gaps
from pyrovae.inference.diagnostics.refine import Refined, shifted


def as_it_is(batch):
    return batch


def test_every_guide_can_be_refined_or_says_why_not(representative, says):
    pair = representative
    few = {name: tensor[:2] for name, tensor in pair.batch.items()}
    point, label = "autoencoder" in repr(pair.guide), "y" in pair.latent
    before = [p.clone() for p in (*pair.model.parameters(), *pair.guide.parameters())]
    if point or label or "Delta" in repr(pair.guide):
        with says(PairError, "point mass" if not label else "Categorical"):
            gaps(pair.model, pair.guide, few, num_steps=10, num_samples=5, transform=as_it_is)
        return
    found = gaps(pair.model, pair.guide, few, num_steps=10, num_samples=5, transform=as_it_is)
    total = found.approximation.value + found.amortisation.value
    assert total == pytest.approx(found.inference.value, abs=1e-9)
    after = [*pair.model.parameters(), *pair.guide.parameters()]
    assert all(torch.equal(a, b) and b.requires_grad and b.grad is None for a, b in zip(before, after, strict=True))


def test_refined_by_nothing_is_the_guide(representative):
    pair = representative
    if "y" in pair.latent or "Delta" in repr(pair.guide):
        pytest.skip("labels and point masses are not refined")
    from pyrovae.inference.pair.running import evaluating
    from pyrovae.inference.pair.scoring import log_terms

    with evaluating(pair.model, pair.guide):
        refined = Refined(pair.guide, pair.batch)
        assert not set(map(id, refined.parameters())) & set(map(id, pair.guide.parameters()))
        assert all(len(p) == 6 or p.shape[1] == 6 for p in refined.parameters())
        weights = []
        for guide in (pair.guide, refined):
            torch.manual_seed(0)
            weights.append(log_terms(pair.model, guide, pair.batch, 3).log_weight)
        torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-3)


GAMMA = {"concentration", "rate"}


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        (dist.LogNormal(torch.zeros(2), 1.0).to_event(1), {"loc", "scale"}),
        (dist.Beta(torch.ones(2), 2.0).to_event(1), {"concentration1", "concentration0"}),
        (dist.Categorical(torch.ones(3)), {"logits"}),
        (dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), {"loc", "scale_tril"}),
        (dist.TransformedDistribution(dist.Gamma(2.0, 3.0), [dist.transforms.ExpTransform()]), GAMMA),
    ],
)
def test_which_parameters_are_free(fn, names):
    seen = []

    def note(name, value):
        seen.append(name.removeprefix("z_"))
        return value

    again = shifted(fn, "z", note)
    assert set(seen) == names
    z = fn.sample()
    torch.testing.assert_close(again.log_prob(z), fn.log_prob(z))


def test_what_cannot_be_refined(ppca, says):
    class Odd(dist.TorchDistribution):
        arg_constraints = {}  # noqa: RUF012

    with says(PairError, "Odd ('z')", "no parameters"):
        shifted(Odd(validate_args=False), "shift_z", lambda _, value: value)
