"""The result of a job: written last, with the checksums of all that pages and tables are drawn from.

A figure that was changed afterwards is refused in place of shown, for the price of reading the records once more. Runs
of before there were checksums have none, and are read as they are.
"""

from typing import Any

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training.runs import ENVIRONMENT, RECORDS, RESULT

FORMAT = 1  # of a run's folder, in its result: what a later one holds cannot be read here
# Whichever of them a job leaves: the last four are those of comparisons, and of a study.
_DRAWN_FROM = (ENVIRONMENT, RECORDS, "ranks.parquet", "points.csv", "prediction.json", "study.json")


def store_result(folder: str, result: dict[str, Any]) -> None:
    """Write a result into its run folder; a run that has one is never begun again."""
    names = [name for name in _DRAWN_FROM if storage.exists(storage.join(folder, name))]
    data = storage.json_bytes({"format": FORMAT} | result)
    storage.write_checksums(folder, names, {RESULT: data})
    storage.write_bytes(storage.join(folder, RESULT), data)


def read_result(folder: str) -> Any:
    """What is stored as the result of a run.

    Raises:
        UserError: there is none, a newer version wrote it, or a record of the run is not what the job wrote.
    """
    refuse_changed(folder)
    result = storage.read_json(storage.join(folder, RESULT))
    storage.refuse_newer(result.get("format") if isinstance(result, dict) else None, FORMAT, f"the run at {folder}")
    return result


def refuse_changed(folder: str) -> None:
    """Refuse a run whose records are not what its job wrote.

    Raises:
        UserError: one was changed, or is gone; the message names it.
    """
    if not storage.exists(storage.join(folder, storage.CHECKSUMS)):
        return
    if (name := storage.changed(folder, (RESULT,))) is not None:
        raise UserError(
            f"{folder}: {name} is missing or was changed after it was written: copy it again from where it is whole, "
            "or run the job again in another folder"
        )
