"""Example scripts, one question each."""
