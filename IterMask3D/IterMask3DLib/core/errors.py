"""The one exception a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something cannot be done for the user; the message is one sentence that names the cause and says what to do."""
