"""Ctrl-C waits for imports that it must not cut, and a second one does not wait."""

import os
import signal

import pytest

from lockstep.termination import interrupt_held


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_comes_after_the_block_and_a_second_one_at_once():
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupt_held():
        interrupt()
        reached.append("the end of the block")
    with pytest.raises(KeyboardInterrupt), interrupt_held():
        interrupt()
        reached.append("a second one")
        interrupt()
        reached.append("never")
    assert reached == ["the end of the block", "a second one"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_block_without_an_interrupt_or_with_an_error_of_its_own():
    with interrupt_held():
        pass
    with pytest.raises(ValueError, match="its own"), interrupt_held():
        interrupt()
        raise ValueError("its own")
