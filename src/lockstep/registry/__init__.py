"""Everything that speaks MLflow."""
