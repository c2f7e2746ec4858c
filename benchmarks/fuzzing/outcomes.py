"""What becomes of a case: as it was, one clear error, other data without a word, a traceback, a hang, a dead process.

Cases run in children of this process, many in each, so that a crash or a hang costs one case and imports are paid once.
"""

import contextlib
import io
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import NamedTuple

from ray_userrep.errors import UserError

FINE, SET_ASIDE, ERROR = "as it was", "rows set aside and counted", "one clear error"
OTHER, TRACEBACK, HANG, CRASH = "other data", "traceback", "hang", "crash"
OUTCOMES = (FINE, SET_ASIDE, ERROR, OTHER, TRACEBACK, HANG, CRASH)
Case = Callable[[int], str]  # the outcome of case n, where nothing is raised
_PER_CHILD, _WAIT = 250, 600.0  # cases; seconds without an answer


class Told(NamedTuple):
    """The outcome of a case, and where a traceback came from."""

    number: int
    outcome: str
    detail: str


class OtherDataError(Exception):
    """What was read is not what was written, and nothing said so."""


class _Hang(BaseException):
    """A case takes longer than any should."""


def outcome_of(case: Case, number: int, seconds: float = 20.0) -> Told:
    """Run one case in this process; the seconds are those of a core, so that a busy machine makes no hangs."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return Told(number, case(number), "")
    except UserError as error:
        lines = str(error).splitlines()
        return Told(number, ERROR if len(lines) == 1 and len(lines[0]) <= 2000 else TRACEBACK, str(error)[:200])
    except OtherDataError as error:
        return Told(number, OTHER, str(error))
    except _Hang:
        return Told(number, HANG, "".join(traceback.format_exc(limit=-3)))
    except Exception as error:
        return Told(number, TRACEBACK, _where(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcomes(case: Case, numbers: Sequence[int], seconds: float = 20.0) -> Iterator[Told]:
    """Run cases in child processes; one that dies is begun again behind the case that it died of."""
    rest = list(numbers)
    while rest:
        reader, writer = multiprocessing.Pipe(duplex=False)
        some = rest[:_PER_CHILD]
        child = multiprocessing.get_context("fork").Process(target=_run, args=(case, some, seconds, writer))
        child.start()
        writer.close()
        done = 0
        while (told := _received(reader, _WAIT)) is not None:
            yield told
            done += 1
        if done < len(some):
            child.kill()
            yield Told(some[done], CRASH, "the process died, or could not be interrupted")
            done += 1
        child.join()
        rest = rest[done:]


def _received(reader: Connection, seconds: float) -> Told | None:
    try:
        return reader.recv() if reader.poll(seconds) else None
    except EOFError:
        return None


def _run(case: Case, numbers: Sequence[int], seconds: float, writer: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C print what they think of damage
    for number in numbers:
        writer.send(outcome_of(case, number, seconds))
    writer.close()
    os._exit(0)  # threads of libraries are not waited for


def _where(error: Exception) -> str:
    """The exception and the last line of ours that it came through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "ray_userrep" in frame.filename]
    place = f"{ours[-1].filename.rpartition('ray_userrep/')[2]}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:160]}"
