"""Repeated stretches of a captured graph become loops."""
