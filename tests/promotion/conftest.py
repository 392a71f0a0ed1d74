"""The environment of tests of what is judged before a promotion: none of the variables that settings read."""

from tests.registry_workspace import _clean_environment

__all__ = ["_clean_environment"]
