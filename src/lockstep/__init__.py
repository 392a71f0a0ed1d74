"""Lockstep: a DVC pipeline and an MLflow registry that never drift apart."""

__version__ = "0.1.0"
