"""The problems: one folder each, with a schema and code only where raw data need some."""
