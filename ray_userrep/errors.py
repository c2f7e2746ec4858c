"""What a job turns into one clear line; anything else is a bug and keeps its traceback."""

import re

# A name, a colon, a secret and an @ before the host: what a store's own variables are for. AWS secrets hold slashes.
_SECRET = re.compile(r"s3a?://[^/@:\s]+:.*@|://[^/@:\s]+:[^/@\s]*@")
_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LONGEST_MESSAGE, _LONGEST_TEXT, _LONGEST_NAME = 2000, 4096, 255


class UserError(ValueError):
    """The input, the recipe or the place it names is wrong; the message says what, where and what to do.

    It is one line that can be printed anywhere, whatever was put into it: names of files, values, other messages.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


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


def unfit_text(text: str) -> str | None:
    """Why a text can name nothing on any disk and in any file, if so, as the end of a sentence."""
    if len(text) > _LONGEST_TEXT:
        return f"has at most {_LONGEST_TEXT:,} characters (given {len(text):,})"
    if "\0" in text:
        return f"has no NUL in it (given {text!r})"
    try:
        names = text.encode().split(b"/")
    except UnicodeEncodeError:
        return f"is valid Unicode (given {text!r})"
    if max(map(len, names)) > _LONGEST_NAME:
        return f"has at most {_LONGEST_NAME} bytes between slashes (given {max(map(len, names)):,})"
    return None


def refuse_unfit(text: str, name: str) -> None:
    """Refuse an address that no disk and no store can have.

    Raises:
        UserError: `name` is such a text.
    """
    if wrong := unfit_text(text):
        raise UserError(f"{name} takes text that {wrong}")


def _one_line(message: str) -> str:
    """Without line breaks, control characters, lone surrogates, and the middle of what is longer than a screen."""
    text = _BREAK.sub(" ", message.strip()).encode(errors="backslashreplace").decode()
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    half = _LONGEST_MESSAGE // 2 - 2
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:half]} … {text[-half:]}"
