"""Training a pair by stochastic variational inference."""
