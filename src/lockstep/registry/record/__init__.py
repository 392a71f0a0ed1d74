"""The record of moves: events, the lock they are numbered under, and what follows from them."""
