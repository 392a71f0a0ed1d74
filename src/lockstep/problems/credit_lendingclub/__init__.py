"""Loans of LendingClub: whether they were fully paid back, from a prepared table."""
