"""What the words of a report mean."""

from pyrovae.report.sections.section import Section

__all__ = ["glossary"]

WORDS = {
    "nat": "A unit of information: log 2 nats are one bit. Every number here is a mean over data points.",
    "±": "One Monte Carlo standard error, which comes from the draws alone and not from the choice of data.",
    "bias": "How far the mean of log 1/S sum w is from log p(x), by the same draws. Corrected: less the bias.",
    "code": "A value of the latent z: the mean of q(z | x), unless a draw is meant.",
    "prior": "p(z), the distribution of codes that the model generates data from.",
    "ELBO": "E log p(x, z) − log q(z | x) over draws of the guide: a lower bound of log p(x), which training raises.",
    "rate": "KL(q(z | x) ‖ p(z)): the nats that a code says about its data point.",
    "distortion": "−E log p(x | z): the nats that the code leaves open. ELBO = −(rate + distortion).",
    "log-evidence": "log p(x), the nats that the model gives to a data point. Higher is better.",
    "importance sampling": "log of the mean of the weights w = p(x, z) / q(z | x) over draws of the guide; from below.",
    "k-hat": "How heavy the tail of the weights w is. Above 0.7 their mean, and so the log-evidence, is too low.",
    "effective sample size": "How many exact draws of p(z | x) the weighted draws of the guide are worth.",
    "corrected draws": "Draws of the guide, chosen by their weights. With a small effective sample size they repeat.",
    "active dimension": "A dimension of z whose mean varies with x; the others carry nothing.",
    "aggregate posterior": "The distribution of codes over all data points. Where it differs from the prior, "
    "generated data differ from real ones.",
    "mutual information": "The nats that z says about which data point it is; N data points can show log N at most.",
    "marginal KL": "KL of the aggregate posterior from the prior: rate = mutual information + marginal KL.",
    "calibration": "Whether simulated codes lie where the guide says that they lie; a small p-value says that they "
    "do not.",
    "joint ranks": "The same of log p(x, z), log q(z | x) and a distance. They see wrong correlations.",
    "local test": "At which data points a classifier can tell draws of the guide from those of the posterior.",
}


def glossary() -> Section:
    """The words of the report and what they mean."""
    return {"kind": "glossary", "title": "Glossary", "words": WORDS}
