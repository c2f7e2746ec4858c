"""The house's rules: which room may import which, and which rooms run without Ray and DeepSpeed."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ray_userrep"

# From the ground up: a room imports itself and the rooms before it.
ROOMS = [
    "errors", "recipe", "recipes", "storage", "logs", "corpus", "prepare", "feed", "encoder", "objectives",
    "planner", "evaluation", "training", "generative", "transfer", "scaling", "distributed", "embedding", "endpoint",
    "report", "workflows", "command", "usage", "log_lines", "jobs", "cli", "library",
]  # fmt: skip
RAY = {"logs", "prepare", "distributed", "embedding", "endpoint", "workflows"}
DEEPSPEED = {"distributed"}


def files() -> dict[str, Path]:
    """Every module of the package by its dotted name below it; the package itself is the top of the house."""
    named = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    return {
        name.removesuffix(".__init__"): path for name, path in named.items() if name not in ("__init__", "__main__")
    }


def imports(path: Path) -> Iterator[str]:
    """Everything that a file imports anywhere in it, names too, since a name may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and node.level == 0, f"{path}: an import relative to its file hides the room"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(module: str, modules: dict[str, Path]) -> str | None:
    """The module of the package that is meant, less the name that is taken from it."""
    if module.split(".")[0] != PACKAGE.name:
        return None
    name = module.removeprefix(f"{PACKAGE.name}.")
    return name if name in modules else name.rpartition(".")[0] or None


def test_a_room_imports_only_rooms_below_it_and_no_modules_in_a_circle():
    modules, graph = files(), {}
    for name, path in modules.items():
        found = {own(module, modules) for module in imports(path)} - {None, name}
        for other in found:
            assert ROOMS.index(other.split(".")[0]) <= ROOMS.index(name.split(".")[0]), f"{name} imports {other}"
        graph[name] = found
    graphlib.TopologicalSorter(graph).prepare()  # raises where there is a circle


def test_ray_and_deepspeed_stay_in_their_rooms_and_the_others_import_where_there_is_neither():
    for name, path in files().items():
        room, used = name.split(".")[0], {module.split(".")[0] for module in imports(path)}
        assert "ray" not in used or room in RAY, name
        assert "deepspeed" not in used or room in DEEPSPEED, name
    plain = [name for name in files() if name.split(".")[0] not in RAY]
    assert {"encoder.user_encoder", "training.bare", "transfer.fit", "feed.stream"} <= set(plain)
    blocked = "import sys; sys.modules.update(ray=None, deepspeed=None)\n"
    lines = "".join(f"import {PACKAGE.name}.{name}\n" for name in plain)
    subprocess.run([sys.executable, "-c", blocked + lines], check=True)


def test_a_log_is_prepared_without_what_only_training_needs():
    imported = (
        "import sys; import ray_userrep.workflows.prepare; sys.exit(str({'torch', 'transformers'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
