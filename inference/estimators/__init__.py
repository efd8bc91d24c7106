"""Estimators with the interface of scikit-learn.

Import each from its module, or from `pyrovae.inference`: this package alone imports nothing.
"""
