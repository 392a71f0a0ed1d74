"""A process of its own that takes orders, one a line as JSON, and answers each with a line."""

import json
import os
import sys
from contextlib import ExitStack

from mlflow import MlflowClient

from lockstep.errors import LockstepError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.locking import lock_model

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


def main() -> None:
    stack = ExitStack()
    for line in sys.stdin:
        what, uri, name, *rest = json.loads(line)
        client = MlflowClient(uri)
        try:
            answer = done(stack, client, what, name, rest)
        except LockstepError as error:
            answer = str(error)
        print(json.dumps(answer), flush=True)
    stack.close()


def done(stack, client, what, name, rest):
    """Carry out one order."""
    if what == "as":
        os.environ.update(dict(zip(CREDENTIALS, (name, *rest), strict=True)))
    elif what == "hold":
        stack.enter_context(lock_model(client, name))
    elif what == "release":
        stack.close()
    elif what == "transition":
        return lifecycle.transition(client, name, *rest).event
    return os.getpid()


if __name__ == "__main__":
    main()
