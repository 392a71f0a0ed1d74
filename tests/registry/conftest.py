"""The environment of tests of what registers: none of the variables that settings read."""

from tests.registry_workspace import _clean_environment

__all__ = ["_clean_environment"]
