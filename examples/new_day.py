"""A new day: its purchases are appended, and vectors are brought up to date, of customers and products old and new.

    python examples/new_day.py /tmp/new_day

The encoder stays the same. Sums that are kept beside the vectors spare the second reading of all histories; the price
is about four times the space. Products that the encoder has not learned take its mean vector until it is trained again.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from own_log import COLUMNS, shop_log

import ray_userrep as ur

CUT = pd.Timestamp("2011-12-01")


def main(folder: str, customers: int = 5000, epochs: int = 10) -> dict[str, int]:
    """Print and return how many customers and products are new, and how many histories had to be read again."""
    log = shop_log(customers)
    old, new = log[log["bought"] < CUT], log[log["bought"] >= CUT]
    Path(folder, "log").mkdir(parents=True)
    old.to_csv(f"{folder}/log/until_november.csv", index=False)
    corpus = f"{folder}/corpus"
    given = {"logs.columns": COLUMNS, "train.epochs": epochs, "evaluation.exclude_seen": False}
    run = ur.pretrain(ur.recipe("universal", logs=f"{folder}/log", corpus=corpus, run=f"{folder}/run", **given))["run"]
    before = f"{folder}/vectors/november"
    ur.embed(ur.recipe("universal", corpus=corpus, **{"embedding.sums": True}), run, before)

    new.to_csv(f"{folder}/log/december.csv", index=False)  # the next morning
    ur.prepare(ur.recipe("universal", logs=f"{folder}/log", corpus=corpus, **given, **{"corpus.append": True}))
    after = f"{folder}/vectors/december"
    told = ur.embed(ur.recipe("universal", corpus=corpus, **{"embedding.previous": before}), run, after)

    vectors = pd.read_parquet(after).set_index("user_id")["vector"]
    found = {
        "new customers": int((~vectors.index.isin(old["customer"])).sum()),
        "new products": len(set(new["product"]) - set(old["product"])),
        "histories read again": told["read_anew"],
    }
    print(", ".join(f"{name} {count:,}" for name, count in found.items()))
    show_nearest(vectors, int(new["customer"].iloc[-1]))
    return found


def show_nearest(vectors: pd.Series, customer: int) -> None:
    """Who resembles a customer of the new day: their vectors have the smallest angles with the customer's."""
    vectors_UF = np.stack(vectors)
    unit_UF = vectors_UF / np.linalg.norm(vectors_UF, axis=1, keepdims=True)
    cosines = pd.Series(unit_UF @ unit_UF[vectors.index.get_loc(customer)], vectors.index)
    near = cosines.drop(customer).nlargest(3)
    print(f"most like customer {customer}: " + ", ".join(f"{other} ({cosine:.2f})" for other, cosine in near.items()))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
