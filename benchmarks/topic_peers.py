"""The peers of benchmarks/topics.py: scikit-learn's LDA and NMF, and ProdLDA as Pyro's tutorial formulates it."""

from typing import Any, NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceMeanField_ELBO
from scipy.sparse import csr_matrix
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor, nn

from pyrovae.data import Dataset
from pyrovae.models import VAE, MixtureOfTopics, Program, likelihoods, priors

__all__ = ["Found", "lda", "nmf", "nmf_frobenius", "nmf_tfidf", "pyro_prodlda"]


class Found(NamedTuple):
    """What a method learned.

    Args:
        scores: log p(word | topic) up to a constant of each topic, `(K, V)`.
        pair: a model, a guide and the test documents, where the method has probabilities.
        rows: other scores by which the method orders words, `(K, V)`.
    """

    scores: Tensor
    pair: tuple[Any, Any, Any] | None = None
    rows: Tensor | None = None


def sparse(x: Tensor) -> csr_matrix:
    """Counts as scikit-learn takes them fastest."""
    return csr_matrix(x.numpy().astype(np.float64))


def logarithm(components: np.ndarray) -> Tensor:
    """log p(word | topic) of a factorisation, whose zeros are kept finite."""
    probs = torch.tensor(components) / torch.tensor(components).sum(1, keepdim=True).clamp_min(1e-12)
    return (probs + 1e-9).log()


def lda(dataset: Dataset, count: int, seed: int) -> Found:
    """Latent Dirichlet allocation: batch updates, the default priors 1 / K, 50 iterations.

    Its q(shares | x) is its own variational posterior, and its topics are their posterior means.
    """
    fitted = LatentDirichletAllocation(count, max_iter=50, learning_method="batch", random_state=seed)
    fitted.fit(sparse(dataset.train["x"]))
    probs = torch.tensor(fitted.components_ / fitted.components_.sum(1, keepdims=True)).float()
    model = given_topics(probs, fitted.doc_topic_prior_)
    shares, _ = fitted._e_step(sparse(dataset.test["x"]), cal_sstats=False, random_init=False)
    batch = {"x": dataset.test["x"], "posterior": torch.tensor(shares).float()}

    def guide(x: Tensor, posterior: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", dist.Dirichlet(posterior))

    return Found(probs.log(), (model, guide, batch))


def given_topics(probs: Tensor, concentration: float) -> VAE:
    """p(z) p(x | z) of LDA with these words of its topics, `(K, V)`."""
    decoder = MixtureOfTopics(*probs.shape, embedding=None, simplex=True)
    decoder.free.data.copy_(probs.log())
    prior = priors.Dirichlet(len(probs), float(concentration))
    return VAE(prior, likelihoods.Multinomial(probs.shape[1]), decoder).eval()


def nmf(dataset: Dataset, count: int, seed: int) -> Found:
    """Non-negative matrix factorisation of the counts by the Kullback-Leibler loss, 400 iterations."""
    options = {"init": "nndsvda", "beta_loss": "kullback-leibler", "solver": "mu", "max_iter": 400}
    fitted = NMF(count, random_state=seed, **options).fit(sparse(dataset.train["x"]))
    return Found(logarithm(fitted.components_))


def nmf_frobenius(dataset: Dataset, count: int, seed: int) -> Found:
    """Non-negative matrix factorisation of the counts by squared errors, scikit-learn's default, 400 iterations."""
    fitted = NMF(count, random_state=seed, init="nndsvd", max_iter=400).fit(sparse(dataset.train["x"]))
    return Found(logarithm(fitted.components_))


def nmf_tfidf(dataset: Dataset, count: int, seed: int) -> Found:
    """The same of tf-idf weights, each document of norm 1: these are not the counts."""
    weights = TfidfTransformer().fit_transform(sparse(dataset.train["x"]))
    return Found(logarithm(NMF(count, random_state=seed, init="nndsvd", max_iter=400).fit(weights).components_))


class TutorialEncoder(nn.Module):
    """Two softplus layers of 100 units, dropout 0.2, and batch norm without a gain or a shift.

    Args:
        words: the number of different words.
        count: the number of topics.
    """

    def __init__(self, words: int, count: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(words, 100), nn.Softplus(), nn.Linear(100, 100), nn.Softplus(), nn.Dropout(0.2)
        )
        self.loc = nn.Sequential(nn.Linear(100, count), nn.BatchNorm1d(count, affine=False))
        self.log_variance = nn.Sequential(nn.Linear(100, count), nn.BatchNorm1d(count, affine=False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(x)
        return self.loc(h), (0.5 * self.log_variance(h)).exp()


class TutorialModel(Program):
    """z ~ Normal(0, I), x ~ Multinomial(softmax(norm(W softmax(z)))), with dropout 0.2 of the shares.

    Args:
        words: the number of different words.
        count: the number of topics.
        total: the number of words of a drawn document.
    """

    def __init__(self, words: int, count: int, total: int) -> None:
        super().__init__()
        self.count, self.likelihood = count, likelihoods.Multinomial(words, total)
        self.drop, self.beta = nn.Dropout(0.2), nn.Linear(count, words, bias=False)
        self.norm = nn.BatchNorm1d(words, affine=False)

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", len(x) if x is not None else size, dim=-1):
            zero = self.beta.weight.new_zeros(self.count)
            z = pyro.sample("z", dist.Normal(zero, 1.0).to_event(1))
            total = self.beta(self.drop(z.softmax(-1)))
            logits = self.norm(total.flatten(0, -2)).view_as(total)
            return pyro.sample("x", self.likelihood(logits), obs=x)


class TutorialGuide(Program):
    """q(z | x), normal, from the encoder of the counts.

    Args:
        words: the number of different words.
        count: the number of topics.
    """

    def __init__(self, words: int, count: int) -> None:
        super().__init__()
        self.encoder = TutorialEncoder(words, count)

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            loc, scale = self.encoder(x)
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))


def pyro_prodlda(dataset: Dataset, count: int, seed: int) -> Found:
    """ProdLDA by the tutorial's recipe: Adam at 1e-3, batches of 32, 50 epochs of Pyro's TraceMeanField_ELBO.

    The tutorial orders the words of a topic by the rows of W; p(word | topic) is that of a document of one topic alone.
    """
    pyro.set_rng_seed(seed)
    x = dataset.train["x"]
    model = TutorialModel(x.shape[1], count, int(x.sum(1).median()))
    guide = TutorialGuide(x.shape[1], count)
    loss = TraceMeanField_ELBO().differentiable_loss
    adam = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=1e-3)
    for _ in range(50):
        for rows in torch.randperm(len(x)).split(32):
            if len(rows) > 1:
                adam.zero_grad()
                loss(model, guide, x[rows]).backward()
                adam.step()
    model.eval()
    guide.eval()
    alone = model.norm(model.beta.weight.T).detach().log_softmax(-1)
    return Found(alone, (model, guide, {"x": dataset.test["x"]}), model.beta.weight.detach().T)
