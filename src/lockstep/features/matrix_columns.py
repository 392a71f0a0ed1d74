"""Names that the features stage gives what stands beside the encoded columns, for all that read its files."""

TARGET, GROUP, ROW, TRUTH = "__target__", "__group__", "__row__", "__truth__"
"""Columns of a matrix: target as encoded, group's hash, row of the tidy table, true probability where known."""
SCORE, DECISION = "score", "decision"
"""Columns of a scores table: one score, or score_0 … of several classes and the decided class."""
CLASSES = "target_classes_"
"""The encoder's attribute that holds the labels of a multiclass target, so that they travel inside the artifact."""
