"""From raw files to one tidy, checked table."""
