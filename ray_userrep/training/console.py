"""What a person sees while a run trains: a bar on a terminal, with a line for each validation; plain lines in a log."""

import sys
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

from ray_userrep.training.records import clock, progress_line

_BAR = "{desc} {percentage:3.0f}% {bar:30} {unit}"  # tqdm would put a comma before a postfix


class Console:
    """A sink of records for the time that it is entered."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, record: dict[str, Any]) -> None:
        if not self._stream.isatty():
            print(progress_line(record), file=self._stream, flush=True)
        elif record["kind"] == "train":
            self._move(record)
        else:
            tqdm.write(progress_line(record), file=self._stream)

    def _move(self, record: dict[str, Any]) -> None:
        if self._bar is None:
            total = record["total_steps"]
            self._bar = tqdm(total=total, bar_format=_BAR, file=self._stream, leave=False, dynamic_ncols=True)
        self._bar.n = record["step"]
        self._bar.set_description_str(f"epoch {record['epoch']:.1f}", refresh=False)
        rate = f"{record['interactions_per_second']:,.0f} interactions/s"
        self._bar.unit = f"loss {record['loss']:.4f}  {rate}  left {clock(record['seconds_left'])}"
        self._bar.refresh()
