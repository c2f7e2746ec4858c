"""What README and documentation show is there and is taken: links, pictures, commands, Python, every stored result."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from ray_userrep.command import read
from ray_userrep.jobs import JOBS, job_named
from ray_userrep.recipe.fields import fields
from ray_userrep.scaling.__main__ import _parser as scaling_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "cluster/README.md")),
    *sorted(DOCS.glob("*.md")),
]
GENERATED = {DOCS / "fields.md"}  # by docs/generate.py, when the site is built
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
SHELL = ("", "sh", "bash", "console")
JOB_LINE = re.compile(r"^(?:ray-userrep |python -m ray_userrep |python jobs/)(?P<rest>.*)$")

# Commands are parsed, not run: they name logs, buckets and runs that are not there, or take minutes. What runs them:
# `make pretrain` and `make test` a fresh clone's first steps; `pretrain` without options tests/jobs/test_pretrain.py;
# the other jobs tests/workflows/; clusters and object stores tests/cluster/; benchmarks take minutes to hours and are
# run by hand (docs/reproduce.md), so that only their options are looked for in their text here.


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(path: Path) -> list[tuple[str, str]]:
    """The language and the text of every fenced block, without its indent."""
    found = FENCE.findall(path.read_text())
    return [(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found]


def shell_commands(path: Path) -> list[str]:
    """Every command of a page that is in a block of a shell, continued lines joined."""
    blocks = [text for language, text in fences(path) if language in SHELL]
    lines = [line.strip() for text in blocks for line in text.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("ray job submit --working-dir . -- ") for line in lines]


def inline_commands(path: Path) -> list[str]:
    """Commands between backquotes in the text, which may run over a line's end."""
    text = FENCE.sub("", path.read_text())
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def job_commands() -> list[tuple[str, list[str]]]:
    found = []
    for path in PAGES:
        for line in [*shell_commands(path), *inline_commands(path)]:
            if (match := JOB_LINE.match(line)) and not re.search(r"\bJOB\b|…", line):
                job, *options = shlex.split(match["rest"], comments=True)
                found.append((short(path), [job.removesuffix(".py"), *options]))
    return found


def python_scripts() -> list[tuple[str, list[str]]]:
    """Other Python programs that pages tell to run, as words."""
    lines = [(path, line) for path in PAGES for line in [*shell_commands(path), *inline_commands(path)]]
    return [
        (short(path), shlex.split(line, comments=True)[1:])
        for path, line in lines
        if line.startswith(("python benchmarks/", "python cluster/", "python -m ray_userrep.scaling"))
    ]


def name_of(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)[:60]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", PAGES, ids=short)
def test_links_and_pictures_are_there(path):
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if target in GENERATED:
            continue
        assert target.exists(), f"{short(path)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{short(path)} links to {link}: no such heading"


def anchors(path: Path) -> set[str]:
    """Headings as code hosts and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize(("page", "words"), job_commands(), ids=name_of)
def test_a_job_takes_what_a_page_tells_it(page, words):
    job = job_named(words[0])
    if "--help" not in words and "--help-all" not in words:
        filled = [re.sub(r"^(?:FILE|URI|FOLDER|RUN|N)$", "5", word) for word in words[1:]]
        read(job, filled, [other for other in JOBS if other is not job])


def test_every_job_is_shown():
    shown = {words[0] for page, words in job_commands()}
    assert {job.name for job in JOBS} <= shown
    assert all(f"`{job.name}`" in (ROOT / "README.md").read_text() for job in JOBS)


@pytest.mark.parametrize(("page", "words"), python_scripts(), ids=name_of)
def test_a_script_is_there_and_knows_the_options(page, words):
    if words[0] == "-m":
        scaling_parser().parse_args(words[2:])
        return
    script = ROOT / words[0]
    assert script.is_file()
    text = with_peers(script)
    assert all(f'"{word.partition("=")[0]}"' in text for word in words[1:] if word.startswith("--"))


def with_peers(script: Path) -> str:
    """A benchmark's text, and that of the modules of `peers` that it shares with others."""
    text = script.read_text()
    modules = re.findall(r"^from peers\.(\w+) import", text, flags=re.MULTILINE)
    return "".join([text, *((script.parent / "peers" / f"{name}.py").read_text() for name in modules)])


@pytest.mark.parametrize("path", PAGES, ids=short)
def test_python_compiles(path):
    for number, (language, text) in enumerate(fences(path)):
        if language == "python":
            compile(text, f"{short(path)}, block {number}", "exec")


def test_every_stored_result_is_linked_and_every_picture_shown():
    text = "".join(path.read_text() for path in PAGES)
    stored = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert {name for name in stored if f"results/{name}" not in text} == set()
    assert {path.name for path in (DOCS / "images").iterdir() if path.name not in text} == set()


def test_the_page_of_fields_has_every_field():
    spec = importlib.util.spec_from_file_location("docs_fields", DOCS / "fields.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = made.fields_page()
    assert {path for path in fields() if f"`{path}`" not in page} == set()
