"""Kedro's settings: its defaults. The plugin kedro-mlflow registers its hooks by itself."""
