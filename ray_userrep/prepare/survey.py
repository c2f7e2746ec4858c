"""Counts of a prepared corpus for its page: lengths, tails, sizes of the split, examples of rejected rows."""

from collections import Counter
from typing import Any, NamedTuple

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import Frequencies, item_frequencies, quarantine_examples, split_sizes
from ray_userrep.errors import UserError
from ray_userrep.logs.files import ROWS_PER_FILE
from ray_userrep.logs.tasks import run, shared
from ray_userrep.recipe.recipe import Recipe

_EXAMPLES = 3


class Survey(NamedTuple):
    """What is counted beside the manifest; `refusal` says why the recipe's split does not fit the corpus."""

    lengths: Frequencies
    items: Frequencies
    split: Counter[str]
    quarantine: dict[str, list[dict[str, Any]]]
    refusal: str | None


def survey(recipe: Recipe, corpus: Corpus) -> Survey:
    """Count in tasks, one a bucket."""
    refusal = split = None
    try:
        split = resolve(recipe.split, corpus)
    except UserError as error:
        refusal = str(error)
    sizes, there = Counter[str](), shared(corpus)
    numbers = [] if split is None else corpus.manifest.sequences.buckets()
    run([(split_sizes, there, number, split) for number in numbers], lambda _, found: sizes.update(found))
    lengths = Counter(corpus.manifest.users_per_length)
    return Survey(lengths, item_frequencies(corpus), sizes, quarantine_examples(corpus, _EXAMPLES), refusal)


def plain(found: Survey) -> dict[str, Any]:
    """A survey as JSON takes it."""
    rows = {reason: [_placed(row) for row in rows] for reason, rows in found.quarantine.items()}
    return {
        "lengths": {str(number): count for number, count in found.lengths.items()},
        "items": {str(number): count for number, count in found.items.items()},
        "split": dict(found.split),
        "refusal": found.refusal,
        "quarantine": rows,
    }


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    """A rejected row with its place in its file, counted from 0; files are numbered where they are not named."""
    number, place = divmod(row["row"], ROWS_PER_FILE)
    return {"file": row.get("file") or f"no. {number}", "row": f"{place:,}"} | {
        name: value if value is None else str(value) for name, value in row.items() if name not in ("file", "row")
    }
