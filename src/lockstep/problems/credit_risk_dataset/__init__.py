"""A public prepared table of 32,576 loans, with their share of income: default or not."""
