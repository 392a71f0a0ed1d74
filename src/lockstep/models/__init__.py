"""Model types, training, calibration, scoring, search."""
