"""Registered models and the record of their moves: events, locks, and what follows from them."""
