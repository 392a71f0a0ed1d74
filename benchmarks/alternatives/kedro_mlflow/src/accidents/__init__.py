"""A Kedro project with kedro-mlflow: one pipeline from raw files to registered models."""
