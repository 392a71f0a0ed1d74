"""From the tidy table to a split, a fitted encoder and encoded matrices."""
