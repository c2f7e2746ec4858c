"""What a job prints as JSON, a line an object, where programs read its log: `USERREP_LOG_FORMAT=json`.

Nothing that prints knows of it: lines are wrapped on their way out. What they say stays text; the figures of a training
are in the run's `metrics.jsonl` as numbers.
"""

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from typing import TextIO, cast

from ray_userrep.errors import UserError

VARIABLE = "USERREP_LOG_FORMAT"
_TOPIC = re.compile(r"([a-z]+)(?: {2,}|: )(.*)")


class JsonLines(io.TextIOBase):
    """A stream that writes each line it is given as an object: time, job, level, topic, message."""

    def __init__(self, stream: TextIO, job: str, level: str) -> None:
        self._stream, self._job, self._level, self._begun = stream, job, level, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._stream.write(json.dumps(self._object(line.strip()), ensure_ascii=False) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def end(self) -> None:
        """Write what is left of a line without an end."""
        if self._begun.strip():
            self.write("\n")
        self.flush()

    def _object(self, line: str) -> dict[str, str]:
        topic, message = found.groups() if (found := _TOPIC.fullmatch(line)) else ("", line)
        level = topic if topic in ("warning", "error") else self._level
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {"time": now, "job": self._job, "level": level, "topic": topic, "message": message}


@contextmanager
def as_asked(job: str) -> Iterator[None]:
    """What is printed meanwhile goes out as the environment asks for.

    Raises:
        UserError: it asks for something else than text or JSON.
    """
    asked = os.environ.get(VARIABLE, "text")
    if asked not in ("text", "json"):
        raise UserError(f"{VARIABLE} is {asked!r}: text and json are known")
    if asked == "text":
        yield
        return
    told, complained = JsonLines(sys.stdout, job, "info"), JsonLines(sys.stderr, job, "error")
    with redirect_stdout(cast(TextIO, told)), redirect_stderr(cast(TextIO, complained)):
        try:
            yield
        finally:
            told.end()
            complained.end()
