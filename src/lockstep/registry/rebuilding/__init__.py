"""A version made again from its recorded inputs, and compared."""
