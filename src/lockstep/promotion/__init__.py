"""Whether a version may replace another: gates, slices, holdout, if_better."""
