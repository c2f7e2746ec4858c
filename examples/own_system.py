"""Two systems on one log, one of them of one's own, and which of them ranks better, customer by customer.

    python examples/own_system.py /tmp/own_system

A system is a recipe. This one takes SASRec's layers and lets them learn two things at once: the next purchase, and what
the newer part of a customer's window holds, from the older part. It is no published system; whether the second task
helps is what the comparison says, on the Online Retail log. One seed each: try others before you believe a small gain.
"""

import sys
from pathlib import Path

import pandas as pd

import ray_userrep as ur

BASE, NAME = "sasrec", "next_and_later"
NEXT_ITEM = {"weight": 1.0, "objective": {"kind": "autoregressive"}}
NEWER_PART = {"weight": 0.3, "objective": {"kind": "history", "predict": "future"}}
OWN = {"objective.kind": "weighted", "objective.parts": [NEXT_ITEM, NEWER_PART]}


def main(folder: str, epochs: int = 6, max_len: int = 64) -> pd.DataFrame:
    """Train both, print and return the paired comparison; the own recipe is left as a file for the command line."""
    fields = {"train.epochs": epochs, "stream.max_len": max_len, "evaluation.exclude_seen": False}
    corpus = f"{folder}/corpus"
    base = ur.recipe(BASE, corpus=corpus, run=f"{folder}/{BASE}", **fields)
    own = ur.recipe(BASE, corpus=corpus, run=f"{folder}/{NAME}", **fields, **OWN).model_copy(update={"name": NAME})
    table = ur.compare(ur.pretrain(base)["run"], ur.pretrain(own)["run"])
    print(table[["system", "ndcg@10", "over the first", "verdict"]].to_string(index=False))
    kept = Path(folder, f"{NAME}.json")
    kept.write_text(own.model_copy(update={"run": None}).model_dump_json(indent=1))
    print(f"again with another seed: ray-userrep pretrain --recipe {kept} --seed 1")
    return table


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
