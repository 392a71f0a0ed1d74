"""From scores to decisions: policies, thresholds, costs, and the scale that a score is on."""
