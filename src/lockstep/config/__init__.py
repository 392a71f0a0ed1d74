"""Typed params (they change results) and settings (where to log; they don't)."""
