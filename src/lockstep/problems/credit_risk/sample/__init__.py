"""The embedded sample: applications for a loan, drawn month by month from a known model.

``calibration.json`` holds figures of two public tables (quantiles, shares, default rates by level,
rank correlations; no rows). A month's applications depend on the seed and the month alone, so two
windows of months share the rows of the months they share. Default rises steeply with the share of
income asked for and falls with the credit score; the probability of each application is known.
"""

from lockstep.problems.credit_risk.sample.write import write_sample

__all__ = ["write_sample"]
