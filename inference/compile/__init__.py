"""Capture and replay: a function of Pyro programs becomes one compiled graph."""
