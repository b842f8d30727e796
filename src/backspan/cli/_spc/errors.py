"""What a user is told in one line, without a traceback."""

from __future__ import annotations


class Fault(Exception):
    """Wrong usage, or something around us that does not work: one line on stderr, exit code 2."""
