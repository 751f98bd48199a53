"""The one exception a user is meant to read."""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave cannot be used; the message is one sentence that names it and says what to do."""
