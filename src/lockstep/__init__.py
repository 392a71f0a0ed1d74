"""Lockstep: a DVC pipeline and an MLflow registry that never drift apart."""
