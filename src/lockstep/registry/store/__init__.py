"""The connection to MLflow's tracking store."""
