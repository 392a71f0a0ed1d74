"""Looking a registry over, and mending what can be mended."""
