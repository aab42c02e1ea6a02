"""Errors that a person can mend, and how an entry point shows them."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """Bad input. Its message is one sentence: what is wrong, where, and what would be right."""


def run(main: Callable[[], None]) -> None:
    """Run an entry point; an ``InputError`` becomes one line on stderr and exit status 2."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
