"""What a run left, read back: the result that its page is drawn from, and where it was made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.runs import ENVIRONMENT, RESULT
from ray_userrep.training.stored import read_result

__all__ = ["REPORT", "RESULT", "Result", "as_stored", "load_result", "machine", "read_environment"]

REPORT = "report.html"
Result = dict[str, Any]


def load_result(folder: str) -> Result:
    """The stored result of a run, a study or a prepared corpus, by its folder at any URI.

    Raises:
        UserError: it is none of these, it has not ended, or its records are not what the job wrote.
    """
    uri = storage.join(storage.absolute(folder), RESULT)
    if not storage.exists(uri):
        raise UserError(f"{folder} is no run that has ended: it has no {RESULT}")
    result = read_result(storage.absolute(folder))
    if not isinstance(result, dict) or "job" not in result:
        raise UserError(f"{uri} is no result of a job")
    return result


@contextmanager
def as_stored(folder: str) -> Iterator[None]:
    """Turn what a changed or foreign result raises while it is read into one clear line."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f"{folder}: what is stored there is not what a job of this version wrote ({type(error).__name__}: {error})"
        ) from error


def read_environment(folder: str) -> dict[str, Any]:
    """Versions, commit and hardware of a run; empty where none were stored."""
    uri = storage.join(folder, ENVIRONMENT)
    found: dict[str, Any] = storage.read_json(uri) if storage.exists(uri) else {}
    return found


def machine(environment: dict[str, Any]) -> dict[str, str]:
    """Where and by which code a run was made, as rows of a page."""
    if not environment:
        return {"machine": "not recorded"}
    return {
        "machine": f"{environment['cores']} cores, {environment['processor']}, GPU {environment['gpu'] or 'none'}",
        "commit": environment["commit"] or "not a checkout",
        "date": environment["date"],
    }
