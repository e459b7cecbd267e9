"""The one way in which the door says no."""

from __future__ import annotations


class Refusal(Exception):
    """Raised when a command cannot be carried out. Its text is one line for people: what, where, remedy.

    The door prints the line on stderr and ends with exit code 2.
    """
