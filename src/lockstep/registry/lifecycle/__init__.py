"""Moves of versions between stages, and pruning."""
