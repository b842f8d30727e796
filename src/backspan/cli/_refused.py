"""Why a command of a server does not start. Apart from the server, which takes seconds to load."""

from __future__ import annotations


class Refused(Exception):
    """The server cannot start; the message says why and what to do."""
