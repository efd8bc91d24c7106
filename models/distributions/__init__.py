"""Distributions that torch and Pyro lack; priors, likelihoods and guides are built from them."""
