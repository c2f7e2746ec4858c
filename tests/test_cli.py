"""The command itself, as a process: fast help, one line for what is wrong, thin files for submission."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ray_userrep import __version__
from ray_userrep.jobs import JOBS

ROOT = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ray_userrep", *words]
    return subprocess.run(command, capture_output=True, text=True)


STOPPED = """
import os, signal, sys, time
from ray_userrep import cli, command, jobs
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training import runs

def run(given):
    with runs.running(Recipe(name="small"), sys.argv[2]):
        os.kill(os.getpid(), int(sys.argv[1]))
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as a wait inside Ray does

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
jobs.JOBS = (command.Job("pretrain", "", lambda: run, on_ray=False),)
cli.main(["pretrain", "--seed", "3"])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_that_is_stopped_says_how_to_go_on(tmp_path, number, code):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), f"{tmp_path}/run"], capture_output=True, text=True
    )
    assert done.returncode == code
    assert done.stderr == f"stopped   go on with: ray-userrep pretrain --seed 3 --run {tmp_path}/run\n"
    assert not (tmp_path / "run" / "lease.json").exists()


def test_every_job_has_its_file_and_says_what_it_does():
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == {job.name for job in JOBS}
    told = run("--help")
    assert told.returncode == 0 and all(f"  {job.name} " in told.stdout for job in JOBS)
    assert run().returncode == 2
    assert run("--version").stdout.strip() == __version__


def test_help_and_errors_import_nothing_heavy():
    script = (
        "import sys\nfrom ray_userrep.cli import main\n"
        "for words in (['pretrain', '--help'], ['pretrain', '--help-all'], ['pretrain', '--train.num_worker', '3']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "heavy = {'torch', 'ray', 'deepspeed', 'transformers', 'pyarrow', 'pandas', 'numpy', 'sklearn'}\n"
        "print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr.splitlines() == ["error: unknown field train.num_worker: did you mean train.num_workers?"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "unknown job 'pretrian': did you mean pretrain?"),
        (["pretrain", "--seed", "1", "--seed", "2"], "--seed is given twice: which one is meant?"),
        (["pretrain", "--scale.sizes", "[3]"], "--scale.sizes is an option of scale, not of pretrain"),
        (["prepare", "--logs", ""], "--logs is empty: is a variable unset?"),
        (["report", "{place}"], "{place} is no run"),
        (["runs", "{place}"], "{place}"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, tmp_path):
    done = run(*(word.format(place=tmp_path) for word in words))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {message.format(place=tmp_path)}")


def test_a_job_whose_packages_are_not_installed_names_the_extra():
    script = (
        "import sys\nsys.modules.update(ray=None)\nfrom ray_userrep.cli import main\n"
        "main(['compact', '--corpus', 'nowhere'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    said = "error: compact needs ray, which is not installed: pip install 'ray_userrep[train]'"
    assert done.stderr.splitlines() == [said]
