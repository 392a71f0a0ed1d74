"""What is judged before a promotion is tested without the variables that settings read."""

from tests.registry_workspace import _clean_environment

__all__ = ["_clean_environment"]
