"""Every job over a corpus of more buckets than users, of which most are empty: its ids are of two types."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.command import parse
from ray_userrep.corpus.store import open_corpus
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.workflows.compact import run_compact
from ray_userrep.workflows.continual import run_continual
from ray_userrep.workflows.embed import run_embed
from ray_userrep.workflows.evaluate import run_evaluate
from ray_userrep.workflows.prepare import run_prepare
from ray_userrep.workflows.pretrain import run_pretrain
from ray_userrep.workflows.scale import run_scale
from ray_userrep.workflows.transfer import run_transfer

NUM_USERS, NUM_ITEMS, NUM_BUCKETS, DAY = 130, 40, 200, 86_400
FEW = [
    "--corpus.num_buckets", str(NUM_BUCKETS), "--train.max_steps", "3", "--transfer.epochs", "1",
    "--transfer.arms", '["scratch", "head_only"]', "--transfer.num_seeds", "1", "--transfer.label_shares", "[1.0]",
    "--transfer.learning_rates", "[0.01]", "--transfer.batch_tokens", "512", "--continual.num_seeds", "1",
    "--continual.methods", '["in_turn"]', "--evaluation.num_bootstrap", "100",
]  # fmt: skip
PARTS = '[{"weight": 1.0, "objective": {"kind": "autoregressive"}}, {"weight": 1.0, "objective": {"kind": "history"}}]'


def write_day(place: Path, day: int) -> None:
    """One file of text users and numbered items, all of whose times are in one month."""
    rng, first = np.random.default_rng(day), 1_600_000_000 + 30 * day * DAY
    with (place / f"month-{day}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(NUM_USERS):
            for step, item in enumerate(rng.integers(0, NUM_ITEMS, rng.integers(5, 25))):
                rows.writerow([f"u{user}", item, first + DAY * step + user])


@pytest.mark.slow
def test_every_job_takes_a_corpus_of_mostly_empty_buckets(ray_session, small, tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    write_day(log, 0)
    (log / "users.csv").write_text("user_id,country\n" + "".join(f"u{u},{'AB'[u % 2]}\n" for u in range(NUM_USERS)))
    recipe = lambda *words: small(str(tmp_path), *FEW, *words)  # noqa: E731
    assert run_prepare(recipe())["corpus"]["num_buckets"] == NUM_BUCKETS
    corpus = open_corpus(f"{tmp_path}/corpus")
    empty = [number for number in corpus.buckets() if not corpus.files(number)]
    assert len(empty) > NUM_BUCKETS // 3 and corpus.bucket(empty[0]).user_ids.type == "string"
    bag = ["--encoder.readout", "bag", "--encoder.bag_width", "12", "--encoder.bag_kept", "5"]
    bag += ["--objective.kind", "weighted", "--objective.parts", PARTS]
    run_pretrain(recipe(*bag))
    run_evaluate(recipe(*bag), f"{tmp_path}/run/encoder", f"{tmp_path}/evaluated")
    run_embed(recipe("--embedding.sums", "true"), f"{tmp_path}/run/encoder", f"{tmp_path}/vectors")
    again = ["--embedding.previous", f"{tmp_path}/vectors"]
    run_embed(recipe(*again), f"{tmp_path}/run/encoder", f"{tmp_path}/unchanged")
    assert ids_of(f"{tmp_path}/unchanged") == ids_of(f"{tmp_path}/vectors") == {f"u{u}" for u in range(NUM_USERS)}
    write_day(log, 1)
    run_prepare(recipe("--corpus.append", "true"))
    run_embed(recipe(*again), f"{tmp_path}/run/encoder", f"{tmp_path}/updated")
    assert run_compact(recipe())["version"] == 3
    for kind in ("attribute", "next_item"):
        run_transfer(recipe("--transfer.task.kind", kind, "--run", f"{tmp_path}/{kind}"))
    run_continual(recipe("--run", f"{tmp_path}/continual"))
    run_prepare(recipe("--corpus.k_core.users", "20", "--corpus", f"{tmp_path}/core"))
    study = {"sizes": [800, 2000, 5000], "data": [300, 1100], "seeds": [0], "hold_out": 1, "item_width": 8}
    places = ["--logs", str(log), "--corpus", f"{tmp_path}/corpus", "--run", f"{tmp_path}/study"]
    fields = ["--corpus.num_buckets", str(NUM_BUCKETS), "--stream.max_len", "8", "--encoder.width", "16"]
    run_scale(parse([*places, *fields]), ScaleConfig.model_validate(study))


def ids_of(folder: str) -> set[str]:
    files = [entry.uri for entry in storage.list_files(folder, ".parquet")]
    return {user for file in files for user in storage.read_parquet(file, ["user_id"])["user_id"].to_pylist()}
