"""Draws from the posterior and the prior, in memory, in NetCDF files, and as ArviZ objects."""
