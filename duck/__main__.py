"""The `duck` command; `python -m duck` is the same program."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; returns the exit code (docs/reference/cli.md lists them)."""
    from duck.cli.clash import clash_sentence

    sentence = clash_sentence()
    if sentence:
        sys.stderr.write(f"duck: {sentence}\n")
        return 1
    from duck.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
