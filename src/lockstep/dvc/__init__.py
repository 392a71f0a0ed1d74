"""What DVC knows: its commands, its files, and the lineage of a model in them."""
