"""What stands between a version and its place: gates, comparisons on the same unseen rows, the registration policy."""
