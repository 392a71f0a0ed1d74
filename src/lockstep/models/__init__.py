"""The zoo, training, evaluation, thresholds, prediction."""
