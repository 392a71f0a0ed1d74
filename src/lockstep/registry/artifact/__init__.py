"""A version's files: packed, checked, loaded, released."""
