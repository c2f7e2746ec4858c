"""From a log of one's own to user vectors, and to the question who will stay away, beside what shops count anyway.

    python examples/own_log.py /tmp/own_log

The log is written as a shop would export it, a CSV with column names of its own; the purchases are those of Online
Retail, the log that comes with the package. Vectors know only what lies before a day, the label is what comes after it.
RFM is how recently, how often and for how much a customer bought: the least that a vector has to stand beside.
"""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ray_userrep as ur

COLUMNS = {"user_id": "customer", "item_id": "product", "timestamp": "bought"}
LAST_KNOWN, CUT = "2011-08-31", pd.Timestamp("2011-09-01")


def shop_log(customers: int) -> pd.DataFrame:
    """A row for each purchase of so many customers: customer, product, bought, paid."""
    raw = pd.read_parquet(str(files("ray_userrep") / "logs/datasets/online_retail/online_retail.parquet"))
    sold = raw[raw["CustomerID"].notna() & (raw["Quantity"] > 0)]
    rows = pd.DataFrame({"customer": sold["CustomerID"].astype(int), "product": sold["StockCode"]})
    rows["bought"], rows["paid"] = sold["InvoiceDate"], sold["Quantity"] * sold["UnitPrice"]
    everyone = rows["customer"].drop_duplicates()
    return rows[rows["customer"].isin(everyone.sample(min(customers, len(everyone)), random_state=0))]


def rfm(known: pd.DataFrame) -> pd.DataFrame:
    """Recency in days, days with purchases, and money, of each customer."""
    groups = known.groupby("customer")
    return pd.DataFrame(
        {
            "recency": (CUT - groups["bought"].max()).dt.days,
            "frequency": groups["bought"].agg(lambda times: times.dt.normalize().nunique()),
            "money": groups["paid"].sum(),
        }
    )


def vectors_of(folder: str, epochs: int) -> pd.Series:
    """An encoder that has learned from what lies before the day, and its vectors of all customers."""
    recipe = ur.recipe(
        "universal",
        logs=f"{folder}/shop.csv",
        corpus=f"{folder}/corpus",
        run=f"{folder}/run",
        **{"logs.columns": COLUMNS, "logs.to_date": LAST_KNOWN, "train.epochs": epochs},
        **{"evaluation.exclude_seen": False},  # customers of a shop buy the same again
    )
    result = ur.pretrain(recipe)
    ur.embed(ur.recipe("universal", corpus=f"{folder}/corpus"), result["run"], f"{folder}/vectors")
    return pd.read_parquet(f"{folder}/vectors").set_index("user_id")["vector"]


def predicted(features: np.ndarray, stays_away: np.ndarray) -> np.ndarray:
    """Probabilities by logistic regression, each customer's from the nine tenths that it is not in."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return cross_val_predict(model, features, stays_away, cv=10, method="predict_proba")[:, 1]


def gain(stays_away: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """A 95 % bootstrap interval of the difference in AUC, over customers."""
    rng = np.random.default_rng(0)
    found: list[float] = []
    while len(found) < 300:
        rows = rng.integers(0, len(stays_away), len(stays_away))
        if 0 < stays_away[rows].sum() < len(rows):
            found.append(roc_auc_score(stays_away[rows], ours[rows]) - roc_auc_score(stays_away[rows], theirs[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def main(folder: str, customers: int = 5000, epochs: int = 10) -> dict[str, float]:
    """Print and return the AUC of who buys nothing from the day on: of RFM, of the vector, and of both."""
    log = shop_log(customers)
    Path(folder).mkdir(parents=True, exist_ok=True)
    log.to_csv(f"{folder}/shop.csv", index=False)
    vectors = vectors_of(folder, epochs)
    columns = rfm(log[log["bought"] < CUT])
    stays_away = ~columns.index.isin(log.loc[log["bought"] >= CUT, "customer"])
    counted, vector = np.log1p(columns.clip(lower=0)).to_numpy(), np.stack(vectors.loc[columns.index])
    features = {"RFM": counted, "vector": vector, "both": np.hstack([counted, vector])}
    told = {name: predicted(one, stays_away) for name, one in features.items()}
    aucs = {name: float(roc_auc_score(stays_away, one)) for name, one in told.items()}
    low, high = gain(stays_away, told["both"], told["RFM"])
    print(f"{len(columns):,} customers, {stays_away.mean():.0%} of whom stay away")
    print(", ".join(f"{name} AUC {auc:.3f}" for name, auc in aucs.items()))
    verdict = "the vector helps" if low > 0 else "the vector harms" if high < 0 else "the vector is not shown to help"
    print(f"both over RFM {aucs['both'] - aucs['RFM']:+.3f} [{low:+.3f}, {high:+.3f}]: {verdict}")
    return aucs


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
