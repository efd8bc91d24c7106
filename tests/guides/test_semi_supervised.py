"""The guide of a semi-supervised model: inferred and known labels."""

import torch

from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

X, CLASSES, LATENT = (1, 3, 3), 4, 2


def test_a_known_label_is_a_point_mass_without_infinities():
    encoder = JointMLP([X, CLASSES], 2 * LATENT, (5,))
    guide = SemiSupervisedGuide(MLP(X, CLASSES, (5,)), NormalGuide(encoder)).double()
    x, y = torch.rand(5, *X).double(), torch.tensor([0, -1, 3, -1, 2])
    q = guide.label(x, y)
    assert q.logits.isfinite().all()
    assert torch.equal(q.probs[[0, 2, 4]], torch.eye(CLASSES).double()[[0, 3, 2]])
    assert torch.equal(q.log_prob(y.clamp_min(0))[[0, 2, 4]], torch.zeros(3).double())
    torch.testing.assert_close(q.probs[[1, 3]], guide.label(x).probs[[1, 3]])
