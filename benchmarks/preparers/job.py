"""What every system is told and what it answers; imports nothing that a peer's environment lacks."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A log of Parquet files with columns user, item and time (us), and the folder for what is made of it."""

    log: str
    output: str
    buckets: int
    threads: int
    nodes: int = 0
    object_store_bytes: int = 0
    memory_bytes: int = 0
    cap: int | None = None


def job() -> Job:
    """The job that the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text()))


def answer(**found: object) -> None:
    """Print the counts by which the systems are compared, and what else there is to say, as the last line."""
    print(json.dumps(found), flush=True)
