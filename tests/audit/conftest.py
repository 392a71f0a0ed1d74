"""The environment of tests of what checks a registry: none of the variables that settings read."""

from tests.registry_workspace import _clean_environment

__all__ = ["_clean_environment"]
