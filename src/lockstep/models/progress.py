"""The progress of a training as one line: rewritten in a terminal, repeated elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from lockstep.console import number_text

TERMINAL_SECONDS = 0.2
PLAIN_SECONDS = 5.0


@dataclass
class ProgressLine:
    """Print iteration, loss and seconds of one training to stderr; timings go nowhere else."""

    name: str
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)
    shown: float = -PLAIN_SECONDS

    def __call__(self, done: int, total: int, loss: float | None) -> None:
        """Take one step's news; show it when enough time has gone by."""
        now = time.monotonic()
        every = TERMINAL_SECONDS if self.stream.isatty() else PLAIN_SECONDS
        if now - self.shown >= every:
            self.shown = now
            steps = f"{done}/{total}" if total > 1 else "fitting"
            self._show(
                steps if loss is None else f"{steps}  early stopping loss {number_text(loss)}"
            )

    def end(self, text: str) -> None:
        """Print the last line for good."""
        self._show(text)
        if self.stream.isatty():
            self.stream.write("\n")

    def _show(self, news: str) -> None:
        text = f"{self.name}  {news}  {time.monotonic() - self.started:.1f} s"
        self.stream.write(f"\r\x1b[K{text}" if self.stream.isatty() else f"{text}\n")
        self.stream.flush()
