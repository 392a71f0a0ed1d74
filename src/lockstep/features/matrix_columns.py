"""Names of the columns that the features stage adds to the encoded ones."""

TARGET, GROUP, ROW, TRUTH = "__target__", "__group__", "__row__", "__truth__"
"""Columns of a matrix: encoded target, group's hash, tidy row, true probability where known."""
SCORE, DECISION = "score", "decision"
"""Columns of a scores table: one score, or score_0 … of several classes and the decided class."""
CLASSES = "target_classes_"
"""The encoder's attribute with a multiclass target's labels; it travels in the artifact."""
