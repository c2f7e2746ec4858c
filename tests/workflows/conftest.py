"""A small log as a shop would export it: CSV with text ids, names and a user attribute."""

import csv
import io

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.command import parse
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.workflows.report import run_report

SMALL = [
    "--stream.max_len", "8", "--stream.batch_tokens", "256", "--encoder.width", "16", "--corpus.num_buckets", "3",
    "--train.epochs", "3", "--train.learning_rate", "0.01", "--train.log_every", "5", "--train.cpus_per_worker", "1",
    "--evaluation.num_bootstrap", "200",
]  # fmt: skip


def write_small_log(uri: str, num_users: int = 150, num_items: int = 40, seed: int = 0) -> int:
    """Users who walk through the catalogue in small steps; returns the number of interactions."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        walk = (rng.integers(num_items) + np.cumsum(rng.integers(1, 4, rng.integers(3, 25)))) % num_items
        rows += [(f"u{user}", f"i{item:02d}", 1_600_000_000 + 3600 * step + user) for step, item in enumerate(walk)]
    _write_csv(
        f"{uri}/interactions.csv", ["user_id", "item_id", "timestamp"], [rows[i] for i in rng.permutation(len(rows))]
    )
    _write_csv(f"{uri}/items.csv", ["item_id", "text"], [(f"i{i:02d}", f"thing number {i}") for i in range(num_items)])
    _write_csv(f"{uri}/users.csv", ["user_id", "country"], [(f"u{u}", "AB"[u % 2]) for u in range(num_users)])
    return len(rows)


def _write_csv(uri: str, header: list[str], rows: list[tuple[object, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    storage.write_text(uri, text.getvalue())


def small_recipe(place: str, *more: str) -> Recipe:
    """A small recipe on a log, a corpus and a run below one place."""
    places = ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/run"]
    words = [*places, *SMALL, *more]
    chosen = dict(zip(words[::2], words[1::2], strict=True))  # what a test says comes last
    return parse([word for option in chosen.items() for word in option])


@pytest.fixture
def small():
    """The small recipe."""
    return small_recipe


@pytest.fixture
def write_log():
    """Writes the small log below a place."""
    return write_small_log


@pytest.fixture
def same_page_again():
    """Checks that a run's page, drawn again from what is stored, is the one that the job wrote."""

    def check(folder: str) -> None:
        written = storage.read_text(f"{folder}/report.html")
        storage.delete(f"{folder}/report.html")
        assert run_report(folder) == f"{folder}/report.html"
        assert storage.read_text(f"{folder}/report.html") == written

    return check
