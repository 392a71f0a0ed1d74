"""A public table of 32,576 loans with the share of income they took: whether they defaulted, from a prepared table."""
