"""What a job turns into one clear line; anything else is a bug and keeps its traceback."""

import re

# A name, a colon, a secret and an @ before the host: what a store's own variables are for. AWS secrets hold slashes.
_SECRET = re.compile(r"s3a?://[^/@:\s]+:.*@|[A-Za-z][\w+.-]*://[^/@:\s]+:[^/@\s]*@")


class UserError(ValueError):
    """The input, the recipe or the place it names is wrong; the message says what, where and what to do."""


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM)."""


class DivergedError(UserError):
    """Training met a non-finite loss and stopped; the message names the step."""


def refuse_secrets(text: str, name: str) -> None:
    """Refuse an address with credentials in it, which would be stored in recipes and results; they are not repeated.

    Raises:
        UserError: `name` holds some.
    """
    if _SECRET.search(text):
        raise UserError(
            f"{name} holds credentials: give them in the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
