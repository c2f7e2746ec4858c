"""The default recipe over several seeds on Online Retail, beside the tuned baselines, on the same test users.

    python benchmarks/online_retail.py [--seeds 3] [--runs runs/online_retail]

Finished runs in the folder are kept, so that the study goes on where it stopped. NDCG@10 of each user is averaged over
seeds before users are resampled. Figures and picture go to benchmarks/results/online_retail.{json,png}.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.metrics import ndcg
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import mean_interval, paired_difference, paired_p_value
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.online_retail import online_retail
from ray_userrep.report import figures
from ray_userrep.training.fit import load_encoder
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare
from ray_userrep.workflows.pretrain import run_pretrain

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--runs", default="runs/online_retail")
    options = arguments.parse_args()
    recipes = [seeded(seed, options.runs) for seed in range(options.seeds)]
    for recipe in recipes:
        if not storage.exists(storage.join(str(recipe.run), "result.json")):
            run_pretrain(recipe)
    connect()
    result = compare(recipes, open_or_prepare(recipes[0]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "online_retail.json").write_text(json.dumps(result, indent=2) + "\n")
    figures.save(figures.bars(result["ndcg@10"], "NDCG@10, full catalogue", "encoder"), IMAGES / "online_retail.png")
    print(json.dumps({key: result[key] for key in ("ndcg@10", "seeds", "over_best_baseline")}, indent=2))


def seeded(seed: int, runs: str) -> Recipe:
    run = storage.absolute(storage.join(runs, f"seed-{seed}"))
    return validated(online_retail().model_dump() | {"seed": seed, "run": run})


def compare(recipes: list[Recipe], corpus: Corpus) -> dict[str, Any]:
    """Means with intervals, each seed's figure, and the paired difference from the best baseline."""
    config, split = recipes[0].evaluation, resolve(recipes[0].split, corpus)
    test = read_histories(corpus, split, "test", None)
    encoders = [load_encoder(str(recipe.run)) for recipe in recipes]
    per_seed_SU = np.stack(
        [ndcg(ranks(encoder_scorer(e), test, corpus.manifest.num_items, config.exclude_seen), 10) for e in encoders]
    )
    users = {name: ndcg(one.ranks_U, 10) for name, one in tuned_baselines(corpus, split, config).items()}
    best = max(users, key=lambda name: users[name].mean())
    encoder_U = per_seed_SU.mean(0)
    interval = (config.num_bootstrap, config.confidence)
    rows = users | {"encoder": encoder_U}
    return {
        "environment": environment(),
        "split_fingerprint": split.fingerprint(corpus.manifest, config.exclude_seen),
        "test_users": test.num_users,
        "seeds": per_seed_SU.mean(1).tolist(),
        "ndcg@10": {name: mean_interval(values, *interval)._asdict() for name, values in rows.items()},
        "over_best_baseline": {
            "baseline": best,
            **paired_difference(encoder_U, users[best], *interval)._asdict(),
            "p": paired_p_value(encoder_U, users[best], config.num_bootstrap),
        },
        "seconds": [storage.read_json(storage.join(str(r.run), "result.json"))["timings"] for r in recipes],
    }


if __name__ == "__main__":
    main()
