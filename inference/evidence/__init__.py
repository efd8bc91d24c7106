"""The evidence log p(x), estimated from below and from above."""
