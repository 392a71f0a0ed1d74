"""Prices of homes in California's districts of the 1990 census: a regression."""
