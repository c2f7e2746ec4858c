"""Counts of a prepared corpus for its page: lengths, tails, sizes of the split, examples of rejected rows."""

from collections import Counter
from typing import Any, NamedTuple

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import Frequencies, Summary, item_frequencies, quarantine_examples, summarise_bucket
from ray_userrep.errors import UserError
from ray_userrep.logs.files import ROWS_PER_FILE
from ray_userrep.logs.tasks import run, shared
from ray_userrep.recipe.recipe import Recipe

_EXAMPLES = 3


class Survey(NamedTuple):
    """What is counted beside the manifest; `refusal` says why the recipe's split does not fit the corpus."""

    users: Summary
    items: Frequencies
    quarantine: dict[str, list[dict[str, Any]]]
    refusal: str | None


def survey(recipe: Recipe, corpus: Corpus) -> Survey:
    """Count in tasks, one a bucket."""
    refusal = split = None
    try:
        split = resolve(recipe.split, corpus)
    except UserError as error:
        refusal = str(error)
    users, there = Summary(Counter(), Counter()), shared(corpus)

    def take(_: int, found: Summary) -> None:
        nonlocal users
        users = users.joined(found)

    run([(summarise_bucket, there, number, split) for number in corpus.manifest.sequences.buckets()], take)
    return Survey(users, item_frequencies(corpus), quarantine_examples(corpus, _EXAMPLES), refusal)


def plain(found: Survey) -> dict[str, Any]:
    """A survey as JSON takes it."""
    rows = {reason: [_placed(row) for row in rows] for reason, rows in found.quarantine.items()}
    return {
        "lengths": {str(number): count for number, count in found.users.lengths.items()},
        "items": {str(number): count for number, count in found.items.items()},
        "split": dict(found.users.split),
        "refusal": found.refusal,
        "quarantine": rows,
    }


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    """A rejected row with its place in its file, counted from 0; files are numbered where they are not named."""
    number, place = divmod(row["row"], ROWS_PER_FILE)
    return {"file": row.get("file") or f"no. {number}", "row": f"{place:,}"} | {
        name: value if value is None else str(value) for name, value in row.items() if name not in ("file", "row")
    }
