"""The contract of a pair, and what every tool builds on: running it, scoring it, and checking it."""
