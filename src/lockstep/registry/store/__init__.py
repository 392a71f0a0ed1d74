"""MLflow's tracking store: the connection, names, versions, queries, files."""
