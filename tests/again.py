"""Run the tests that failed in the last run once more, alone: `make test-again`.

On a busy machine a test can wait too long for a process that shares the processor with other tests.
A fault fails alone too. More than ``MOST`` failures are no accident.
"""

import json
import sys
from pathlib import Path

import pytest

MOST = 3
FAILED = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main(failed: Path = FAILED) -> int:
    """Run them; return the exit code, 1 if there are none or too many."""
    names = list(json.loads(failed.read_text())) if failed.is_file() else []
    if not 1 <= len(names) <= MOST:
        print(f"✗ {len(names)} tests failed; 1 to {MOST} are run again")
        return 1
    print("run again alone, as they failed beside other tests:", *names, sep="\n  ", flush=True)
    return int(pytest.main(["-p", "no:xdist", *names]))


if __name__ == "__main__":
    sys.exit(main())
