"""Several processes that work on one task: who they are, which rows each takes, and the numbers that they exchange.

Every process holds all data and a copy of the weights, and runs the same script. `Processes` is what the rest asks: its
rank, its share of a batch, a sum over all of them. A single process is the trivial case, so nothing else asks how many
there are.
"""
