"""Watching a served model: drift of its inputs, performance as labels arrive, alarms."""
