"""The embedded sample: Californian districts from a known model, in StatLib's format.

``calibration.json`` holds quantiles of the census table (figures, no rows) and where its people
live. Every column has the table's marginal at any number of units: draws with the wanted rank
correlations are ranked, and the ranks are looked up in the quantiles. Value rises with income and
with the place (prices of cities, of their quarters, and of the coast), which is what a model can
learn; what it cannot is a factor of known distribution. So the expected value, cap included, is
known of every row.
"""

from lockstep.problems.california_housing.sample.write import write_sample

__all__ = ["write_sample"]
