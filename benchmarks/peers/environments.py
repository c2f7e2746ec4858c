"""Each peer's own virtual environment, made once and kept; torch comes first and alone, in our version.

Peers and this project need versions of the same packages that exclude each other, so that none is installed beside it.
"""

import subprocess
import sys
import venv
from pathlib import Path

import torch

REQUIREMENTS = {
    "rectools": ["rectools[torch]==0.19.0"],
    "recbole": ["recbole==1.2.1", "numpy<2", "pandas<3", "scipy<1.15", "setuptools<80"],
    "replay": ["replay-rec[torch]==0.22.0"],
}
_READY = "ready.txt"


def python_of(peer: str, folder: Path) -> str:
    """The interpreter of a peer's environment, with torch."""
    return environment(peer, folder, [[f"torch=={torch.__version__.split('+')[0]}"], REQUIREMENTS[peer]])


def environment(name: str, folder: Path, groups: list[list[str]]) -> str:
    """The interpreter of an environment, which is made if it is missing or was made for other versions.

    Groups of packages are installed one after the other.
    """
    wanted = "\n".join(package for group in groups for package in group)
    here = folder.absolute() / name
    python, ready = str(here / "bin" / "python"), here / _READY
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"{name}: installing {', '.join(wanted.splitlines())} into {here}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    venv.create(here, clear=True, with_pip=True)
    for packages in groups:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], stdout=sys.stderr, check=True)
    ready.write_text(wanted)
    return python
