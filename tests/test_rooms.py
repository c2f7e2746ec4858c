"""The house's rules: which room may import which, and what runs without Ray and DeepSpeed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ray_userrep"

# From the ground up: a room imports itself and the rooms before it.
ROOMS = [
    "errors", "s3", "archives", "storage", "nodes", "logs", "corpus", "encoder", "objectives", "evaluation",
    "training.config", "embedding.config", "transfer",
    "recipe", "recipes", "command", "training", "embedding", "scaling", "report", "workflows",
]  # fmt: skip
RAY = {"nodes.py", "logs", "corpus", "training/distributed.py", "embedding", "workflows"}
RAY |= {"scaling/sweep.py", "scaling/utilisation.py"}
NO_RAY_IN_CORPUS = {
    f"corpus/{name}.py" for name in ("plan", "batch", "items", "draws", "domains", "splits", "store", "stream")
}
DEEPSPEED = {"training/zero.py"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and node.level == 0, f"{path}: an import relative to its file hides the room"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if ".".join(parts[:2]) in ROOMS else parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if name == "__init__":
        return
    mine = room(name)
    for module in imports(path):
        if module.startswith("ray_userrep."):
            other = room(module.removeprefix("ray_userrep."))
            assert ROOMS.index(other) <= ROOMS.index(mine), f"{name} imports {module}"
            assert mine != "report" or other == "report", "the report knows nothing of the rest"


def may_use_ray(path: Path) -> bool:
    place = path.relative_to(PACKAGE).as_posix()
    return (place in RAY or place.split("/")[0] in RAY) and place not in NO_RAY_IN_CORPUS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ray_and_deepspeed_stay_where_they_belong(path):
    used = {module.split(".")[0] for module in imports(path)}
    assert "ray" not in used or may_use_ray(path)
    assert "deepspeed" not in used or path.relative_to(PACKAGE).as_posix() in DEEPSPEED


def test_every_plain_module_imports_where_there_is_neither():
    places = [path.relative_to(PACKAGE) for path in FILES if not may_use_ray(path)]
    plain = [".".join(place.with_suffix("").parts) for place in places if place.as_posix() not in DEEPSPEED]
    names = [f"ray_userrep.{name}".removesuffix(".__init__") for name in plain]
    assert {"ray_userrep.encoder.user_encoder", "ray_userrep.training.bare", "ray_userrep.corpus.stream"} <= set(names)
    blocked = "import sys; sys.modules.update(ray=None, deepspeed=None)\n"
    subprocess.run([sys.executable, "-c", blocked + "".join(f"import {name}\n" for name in names)], check=True)


def test_a_log_is_prepared_without_what_only_training_needs():
    imported = (
        "import sys; import ray_userrep.workflows.prepare; sys.exit(str({'torch', 'transformers'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
