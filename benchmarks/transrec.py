"""TransRec: pretrained on titles and posters of MovieLens 1M, then on ML-100K by titles, by posters, by a mixture.

    python benchmarks/transrec.py --data ../shared/data [--runs runs/transrec] [--only half] [--source-steps 300]

The target's films are told by their titles alone, by their posters alone, or half by the one and half by the other, by
a hash of the film; its users are other people. TransRec trained end to end, after a source of 10, 30 and 100 % of the
users, and from scratch; the same with all layers of both models frozen; and `sasrec`, which learns ids of the target
alone. NDCG@10 and HR@10 of the next film with intervals, differences paired by user. Pictures of 64 pixels, the last
layer of either model trained, half precision, few steps: a size for one core. A run that is there is not made again;
`--source-steps 2 --target-steps 2` tries the script, and leaves its figures with the runs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.evaluation.kept import read_ranks
from ray_userrep.evaluation.metrics import hit_rate, mean_of, ndcg, user_means
from ray_userrep.evaluation.statistics import estimate, paired
from ray_userrep.logs.connection import connect
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.transrec import transrec
from ray_userrep.training.runs import environment

WAYS = ("text", "posters", "half")
SHARES = (0.1, 0.3, 1.0)
SOURCE_STEPS, TARGET_STEPS, ID_EPOCHS = 300, 120, 20.0
FROZEN, SCRATCH, IDS = "frozen features", "scratch", "ids"
PAIRS = [("full, 100%", SCRATCH), ("full, 100%", FROZEN), ("full, 100%", IDS), ("full, 100%", "full, 10%")]
MEASURES = {"ndcg@10": ndcg, "hr@10": hit_rate}
_mean = mean_of(lambda _, values_U: values_U)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/transrec")
    arguments.add_argument("--only", default="", help="targets whose name starts so")
    arguments.add_argument("--source-steps", type=int, default=SOURCE_STEPS)
    arguments.add_argument("--target-steps", type=int, default=TARGET_STEPS)
    options = arguments.parse_args()
    data, runs = storage.absolute(options.data), storage.absolute(options.runs)
    sources = pretrain(data, runs, options.source_steps)
    write_targets(data, runs)
    is_whole = (options.source_steps, options.target_steps) == (SOURCE_STEPS, TARGET_STEPS)
    told = {"environment": environment(False), "steps": [options.source_steps, options.target_steps]}
    for way in WAYS:
        if way.startswith(options.only):
            text = json.dumps(told | figures(transfer(runs, way, sources, options.target_steps)), indent=1)
            ((RESULTS if is_whole else Path(runs)) / f"transrec_{way}.json").write_text(text + "\n")
            print(text)


def pretrain(data: str, runs: str, steps: int) -> dict[str, str]:
    """Encoders of the source by the name of the arm that starts from them."""
    logs = ("--logs", f"{data}/ml-1m", "--logs.images", f"{data}/ml-1m-posters/posters.tar")
    asked = {f"full, {share:.0%}": (True, share) for share in SHARES} | {FROZEN: (False, 1.0)}
    found = {}
    for arm, (is_trained, share) in asked.items():
        found[arm] = fit(runs, f"source {arm}", smaller(is_trained, steps, share), "source", *logs)
    return found


def transfer(runs: str, way: str, sources: dict[str, str], steps: int) -> dict[str, str]:
    """A run of every arm on one target."""
    logs, corpus = ("--logs", storage.join(runs, "logs", way)), f"target-{way}"
    found = {IDS: fit(runs, f"{way} {IDS}", by_ids(steps), corpus, *logs)}
    found[SCRATCH] = fit(runs, f"{way} {SCRATCH}", smaller(True, steps, 1.0), corpus, *logs)
    for arm, source in sources.items():
        recipe = smaller(arm != FROZEN, steps, 1.0)
        found[arm] = fit(runs, f"{way} {arm}", recipe, corpus, *logs, "--train.warm_start", source)
    return found


def fit(runs: str, name: str, recipe: Recipe, corpus: str, *options: str) -> str:
    """The folder of a pretraining, which is made unless it is there."""
    run = storage.join(runs, name.replace(", ", "-").replace(" ", "-").replace("%", ""))
    if not storage.exists(storage.join(run, "result.json")):
        storage.write_json(f"{run}.json", recipe.model_dump(mode="json"))
        where = ("--corpus", storage.join(runs, "corpora", corpus), "--run", run)
        job("pretrain", "--recipe", f"{run}.json", *where, *options)
    return run


def smaller(is_trained: bool, steps: int, share: float) -> Recipe:
    """The recipe in a size for one core: the last layer of the language and of the image model train, or none."""
    raw: dict[str, Any] = transrec().model_dump()
    language, image = raw["encoder"]["items"]["parts"]
    language |= {"trained_layers": int(is_trained), "max_tokens": 12}
    image |= {"network": "efficientnet_lite0", "pixels": 64, "trained_blocks": int(is_trained)}
    raw["encoder"] |= {"width": 128}
    raw["encoder"]["backbone"] |= {"num_layers": 2}
    raw["stream"] |= {"batch_tokens": 2048, "micro_tokens": 4096, "user_share": share}
    raw["train"] |= {"precision": "bf16", "epochs": 1000.0, "max_steps": steps, "patience": None, "cpus_per_worker": 1}
    raw["train"] |= {"eval_every": 1000.0, "checkpoint_every": 1000.0}  # the last weights are kept
    raw["evaluation"] |= {"baselines": False, "max_users": 2000}
    return Recipe.model_validate(raw)


def by_ids(steps: int) -> Recipe:
    """The target's ids alone, trained to the end: cheap beside the others."""
    raw: dict[str, Any] = sasrec().model_dump()
    cut = {} if steps == TARGET_STEPS else {"max_steps": steps}
    raw["train"] |= {"epochs": ID_EPOCHS, "cpus_per_worker": 1} | cut
    raw["evaluation"] |= {"baselines": False, "max_users": 2000, "exclude_seen": True}
    return Recipe.model_validate(raw)


def write_targets(data: str, runs: str) -> None:
    """ML-100K as plain tables, once for each way in which its films are told."""
    if storage.exists(storage.join(runs, "logs", WAYS[-1], "items.parquet")):
        return
    connect()
    posters = f"{data}/ml-100k-posters/posters.tar"
    logs = open_logs(LogsConfig(uri=f"{data}/ml-100k", images=posters))
    rows = pa.Table.from_pandas(logs.interactions.to_pandas().sort_values("row"), preserve_index=False)
    items = logs.items
    assert items is not None, "films have titles"
    is_odd = hash_ids(items["item_id"]) % 2 == 1
    told_by_poster = {"text": np.zeros(len(items), bool), "posters": np.ones(len(items), bool)}
    told_by_poster |= {"half": is_odd & items["image"].is_valid().to_numpy()}
    for way in WAYS:
        place, by_poster = storage.join(runs, "logs", way), pa.array(told_by_poster[way])
        columns = {
            "item_id": items["item_id"],
            "text": pc.if_else(by_poster, pa.scalar(None, pa.string()), items["text"]),
            "image": pc.if_else(by_poster, items["image"], pa.scalar(None, pa.large_binary())),
        }
        storage.write_parquet(storage.join(place, "clicks.parquet"), rows.select(["user_id", "item_id", "timestamp"]))
        storage.write_parquet(storage.join(place, "items.parquet"), pa.table(columns))


def figures(runs: dict[str, str]) -> dict[str, Any]:
    """Every arm's figures with their intervals, and the differences that are asked for."""
    found: dict[str, Any] = {}
    for name, measure in MEASURES.items():
        values = {arm: _per_user(run, measure) for arm, run in runs.items()}
        none_U = np.zeros(len(values[IDS]))
        found[name] = {arm: estimate(_mean, none_U, [own_U], 2000, 0.95)._asdict() for arm, own_U in values.items()}
        found[f"{name}, differences"] = {
            f"{a} over {b}": paired(_mean, none_U, [values[a]], [values[b]], 2000, 0.95)._asdict() for a, b in PAIRS
        }
    return found


def _per_user(run: str, measure: Any) -> Any:
    ranks = read_ranks(run)
    return user_means(measure(ranks.by_system["encoder"], 10), ranks.users_W)


if __name__ == "__main__":
    main()
