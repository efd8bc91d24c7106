"""Estimates of the evidence log p(x), from below and from above."""
