"""What a job turns into one clear line; anything else is a bug and keeps its traceback."""


class UserError(ValueError):
    """The input, the recipe or the place it names is wrong; the message says what, where and what to do."""


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM)."""


class DivergedError(UserError):
    """Training met a non-finite loss and stopped; the message names the step."""
