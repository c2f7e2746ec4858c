"""CLUE (NAVER): users who are one in two services, what their vectors are good for, and how that grows with scale.

    python benchmarks/clue_naver.py --data ../shared/data [--runs runs/clue_naver] [--only transfer]

No log at hand has users in two services, so MovieLens-1M is cut in two: films from before 1990 are the one, later ones
the other. Items are texts (title and genres) throughout. First the frozen user vector under a small network beside the
same encoder from scratch, on gender, age and occupation; then a study of sizes, data, lengths and batches whose page
has the pretraining loss beside what can be read of the users.
"""

import argparse
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from running import job, keep

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.clue_naver import clue_naver
from ray_userrep.workflows.prepare import open_or_prepare

_NEW_FROM = 1990
_TRANSFER = (
    "--transfer.arms", '["scratch", "frozen_mlp", "full"]', "--transfer.epochs", "8", "--transfer.patience", "2",
    "--transfer.batch_tokens", "8192", "--transfer.task.attributes", '["gender", "age"]',
    "--transfer.learning_rates", "[0.003]", "--transfer.readouts", '["mean"]',
)  # fmt: skip
_SCALE = (
    "--scale.sizes", "[10000, 30000, 100000]", "--scale.data", "[100000, 300000, 900000]",
    "--scale.lengths", "[32, 128]", "--scale.batches", "[2048, 32768]", "--scale.hold_out", "1",
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="transfer or scale; empty: both")
    arguments.add_argument("--runs", default="runs/clue_naver")
    options = arguments.parse_args()
    runs = storage.absolute(options.runs)
    log, recipe = storage.join(runs, "log"), storage.join(runs, "recipe.json")
    connect()
    write_services(storage.absolute(storage.join(options.data, "ml-1m/ml-1m")), log, storage.join(runs, "whole"))
    storage.write_json(recipe, smaller().model_dump(mode="json"))
    for name, more in (("transfer", _TRANSFER), ("scale", _SCALE)):
        place = storage.join(runs, name)
        if name.startswith(options.only) and not storage.exists(storage.join(place, "result.json")):
            corpus = storage.join(runs, "corpus")
            job(name, "--recipe", recipe, "--logs", log, "--corpus", corpus, "--run", place, *more)
        if storage.exists(storage.join(place, "result.json")):
            keep(f"{name}_clue_naver", place, {}, {runs: "runs", options.data: "data"})


def smaller() -> Recipe:
    """The recipe in a size for two cores."""
    raw: dict[str, Any] = clue_naver().model_dump()
    raw["stream"] |= {"max_len": 64, "batch_tokens": 8192}
    raw["encoder"] |= {"width": 64}
    raw["encoder"]["items"] |= {"num_rows": 4096, "max_words": 12}
    raw["train"] |= {"epochs": 8, "patience": 3, "learning_rate": 3e-3, "cpus_per_worker": 1}
    raw["evaluation"]["baselines"] = True
    return Recipe.model_validate(raw)


def write_services(log_uri: str, to_uri: str, scratch_uri: str) -> None:
    """Write `to_uri` from a log of films, with a domain for old films and one for new ones."""
    if storage.exists(storage.join(to_uri, "items.parquet")):
        return
    place = CorpusConfig(uri=scratch_uri)
    corpus = open_or_prepare(Recipe(name="whole", logs=LogsConfig(uri=log_uri), corpus=place))
    items = corpus.items().table
    year = pc.cast(pc.struct_field(pc.extract_regex(items["text"], r"\((?P<year>\d{4})\)$"), "year"), pa.int32())
    domain = pc.if_else(pc.fill_null(pc.greater_equal(year, _NEW_FROM), False), "new", "old")
    storage.write_parquet(storage.join(to_uri, "interactions.parquet"), _interactions(corpus, items["item_id"], domain))
    storage.write_parquet(storage.join(to_uri, "users.parquet"), corpus.users())
    genres = pc.replace_substring(items["category"], "|", " ")
    text = pc.binary_join_element_wise(items["text"], genres, " ")
    storage.write_parquet(storage.join(to_uri, "items.parquet"), pa.table({"item_id": items["item_id"], "text": text}))


def _interactions(corpus: Corpus, ids: pa.ChunkedArray, domain: pa.ChunkedArray) -> pa.Table:
    tables = []
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        items, lines = pa.array(bucket.items_N), np.repeat(np.arange(bucket.num_users), bucket.lengths_U)
        columns = {
            "user_id": bucket.user_ids.take(pa.array(lines)),
            "item_id": ids.take(items),
            "timestamp": pa.array(bucket.timestamps_N, pa.timestamp("us")),
            "domain": domain.take(items),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


if __name__ == "__main__":
    main()
