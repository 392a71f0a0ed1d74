"""The environment of tests of what reads DVC's files: none of the variables that settings read."""

from tests.registry_workspace import _clean_environment

__all__ = ["_clean_environment"]
