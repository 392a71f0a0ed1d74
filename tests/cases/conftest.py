"""The trained project of the journeys, for cases of commands."""

from tests.journey.conftest import own, trained

__all__ = ["own", "trained"]
