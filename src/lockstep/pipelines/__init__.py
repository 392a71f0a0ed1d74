"""Whole jobs in one command."""
