"""Typed settings (where to log; never changes a result) and typed params (what changes a result)."""
