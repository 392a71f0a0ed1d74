"""The embedded sample: French accidents drawn from a known model, in the publisher's own raw format."""

from lockstep.problems.accidents.sample.write import write_sample

__all__ = ["write_sample"]
