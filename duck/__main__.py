"""The `duck` command; `python -m duck` is the same program."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys


def open_standard_streams() -> None:
    """Put the null device where a standard stream is closed.

    The next socket would get its number otherwise, and be what Django's processes take for their terminal or log.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def main() -> int:
    """Run the command line of this process; returns the exit code (docs/reference/cli.md lists them)."""
    open_standard_streams()
    # What is about to end need not be searched for cycles again and again: that is a tenth of a short life's time.
    atexit.register(gc.freeze)
    try:
        from duck.cli.clash import clash_sentence

        sentence = clash_sentence()
        if sentence:
            sys.stderr.write(f"duck: {sentence}\n")
            return 1
        from duck.cli.main import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C while the modules are loaded, or before a command has its own way to end.
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
