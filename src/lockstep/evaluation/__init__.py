"""Metrics, curves, bootstrap intervals and paired comparisons of scored rows."""
