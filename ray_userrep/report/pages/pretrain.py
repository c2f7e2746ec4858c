"""The page of a pretraining run: what was run on what, how it went, and whether it was worth it."""

import json
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.evaluation.profile import Features, user_vectors
from ray_userrep.evaluation.statistics import HEADLINE
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import figures
from ray_userrep.report.page import Section, facts, figure, metrics_table, neighbours, page
from ray_userrep.training.callbacks import LIKELIHOOD, RANKING
from ray_userrep.training.records import read_records
from ray_userrep.workflows.evaluate import Result, verdict
from ray_userrep.workflows.prepare import describe

_MAP_USERS, _ITEMS_SHOWN, _NEIGHBOURS = 1000, 6, 5
_METRICS = ("hr@10", HEADLINE, "mrr@10")


def write_report(recipe: Recipe, corpus: Corpus, encoder: UserEncoder, run_uri: str, result: Result) -> str:
    """Write `<run>/report.html`; returns its place."""
    name = recipe.name
    rows = {baseline: row for baseline, row in result["baselines"].items()} | {name: result["metrics"]}
    bars = figures.bars({system: row[HEADLINE] for system, row in rows.items()}, "NDCG@10, full catalogue", name)
    drawn = figure(figures.svg(bars), "Bars are means over test users, whiskers 95 % bootstrap intervals.")
    sections = [
        Section("Result", drawn + metrics_table(rows, _METRICS, name, _protocol(recipe, result))),
        Section("Training", _curves(run_uri)),
    ]
    if result["profile"]:
        sections.append(Section("What the vectors say about users", _profile(result)))
    if near := nearest_items(encoder):
        sections.append(Section("Nearest items by learned vectors", neighbours(near)))
    if drawn_users := _user_map(corpus, encoder):
        sections.append(Section("Users", drawn_users))
    data = dict(_split_line(line) for line in describe(corpus.manifest).splitlines())
    sections += [Section("Data", facts(data)), Section("Run", facts(_run_facts(recipe, run_uri, result)))]
    uri = storage.join(run_uri, "report.html")
    storage.write_text(uri, page(f"User encoder: {name}", verdict(result), sections))
    return uri


def nearest_items(encoder: UserEncoder) -> dict[str, list[tuple[str, float]]]:
    """The commonest items that have names, each with those of the nearest vectors and their cosines."""
    table = encoder.item_table
    texts = table.texts() if table is not None else None
    if texts is None:
        return {}
    with torch.inference_mode():
        vectors_VD = torch.nn.functional.normalize(encoder.items(None).float().cpu(), dim=1)
    shown = [index for index, text in enumerate(texts) if text][:_ITEMS_SHOWN]
    cosines, found = (vectors_VD[shown] @ vectors_VD.T).topk(_NEIGHBOURS + 1)
    return {
        texts[item]: [(texts[j] or "?", float(c)) for j, c in zip(found[i], cosines[i], strict=True) if j != item][
            :_NEIGHBOURS
        ]
        for i, item in enumerate(shown)
    }


def _protocol(recipe: Recipe, result: Result) -> str:
    seen = "items of the history are not ranked" if recipe.evaluation.exclude_seen else "repeats allowed"
    return (
        f"{recipe.split.rule.replace('_', ' ')}, full ranking of {result['counts']['items']:,} items, {seen}; "
        f"{result['counts']['test_users']:,} users; split {result['split_fingerprint']}. "
        "Baselines are tuned on validation. Brackets: 95 % bootstrap intervals over users."
    )


def _profile(result: Result) -> str:
    rows = {}
    for name, attribute in result["profile"].items():
        systems = {
            system: m[attribute["headline"]] for system, m in attribute["metrics"].items() if attribute["headline"] in m
        }
        told = [f"{system} {m['mean']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for system, m in systems.items()]
        users = attribute["users"]
        rows[f"{name} ({attribute['headline']})"] = (
            f"{', '.join(told)}; {users['train']:,} users fitted, {users['test']:,} asked"
        )
    return facts(rows)


def _curves(run_uri: str) -> str:
    records = read_records(run_uri)
    train = [r for r in records if r["kind"] == "train"]
    valid = [r for r in records if r["kind"] == "validation"]
    panels: dict[str, dict[str, figures.Curve]] = {
        "training loss": {"loss": ([r["epoch"] for r in train], [r["loss"] for r in train])}
    }
    if valid:
        per_epoch = train[-1]["step"] / train[-1]["epoch"]
        panels |= {
            f"validation {label}": {label: ([r["step"] / per_epoch for r in valid], [r[metric] for r in valid])}
            for metric, label in ((RANKING, "NDCG@10"), (LIKELIHOOD, LIKELIHOOD))
            if metric in valid[0]
        }
    return figure(figures.curves(panels, "epoch"), f"The encoder kept is the one with the best {list(panels)[-1]}.")


def _run_facts(recipe: Recipe, run_uri: str, result: Result) -> dict[str, str]:
    environment: dict[str, Any] = storage.read_json(storage.join(run_uri, "environment.json"))
    train = [r for r in read_records(run_uri) if r["kind"] == "train"]
    rate = float(np.median([r["interactions_per_second"] for r in train]))
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v)
    return {
        "recipe": recipe.name,
        "seed": str(recipe.seed),
        "parameters": ", ".join(f"{kind} {count:,}" for kind, count in result["parameters"].items()),
        "steps": f"{train[-1]['step']:,} ({train[-1]['epoch']:.1f} epochs)",
        "rate": f"{rate:,.0f} interactions/s, data wait {np.median([r['data_wait'] for r in train]):.1%}",
        "workers": f"{recipe.train.num_workers}, ZeRO-{recipe.train.zero.stage}, {recipe.train.precision}",
        "seconds": ", ".join(f"{name} {seconds:.0f}" for name, seconds in result["timings"].items()),
        "machine": f"{environment['cores']} cores, {environment['processor']}, GPU {environment['gpu'] or 'none'}",
        "versions": versions,
        "commit": str(environment["commit"]),
        "date": environment["date"],
        "run folder": run_uri,
        "changed from defaults": json.dumps(recipe.model_dump(mode="json", exclude_defaults=True, exclude={"run"})),
    }


def _split_line(line: str) -> tuple[str, str]:
    return line[:22].strip(), line[22:].strip()


def _user_map(corpus: Corpus, encoder: UserEncoder) -> str | None:
    """A plane of user vectors coloured by the first attribute that the log has."""
    users = corpus.users()
    if users is None or users.num_columns < 2:
        return None
    attribute = next(name for name in users.column_names if name != "user_id")
    ids, vectors_UD = _user_vectors(corpus, encoder)
    label_of = dict(zip(users["user_id"].to_pylist(), users[attribute].to_pylist(), strict=True))
    labels = [str(label_of.get(user)) for user in ids]
    reduced = PCA(min(30, *vectors_UD.shape), random_state=0).fit_transform(vectors_UD)
    xy_U2 = TSNE(random_state=0, init="pca", perplexity=min(30.0, (len(ids) - 1) / 3), n_jobs=-1).fit_transform(reduced)
    return figure(figures.user_map(xy_U2, labels), f"t-SNE of {len(ids):,} users' vectors, coloured by {attribute}.")


def _user_vectors(corpus: Corpus, encoder: UserEncoder) -> tuple[list[Any], Features]:
    """Vectors of users with at least five interactions, so many as the map shows."""
    ids: list[Any] = []
    histories: list[Sequences] = []
    for number in corpus.buckets():
        bucket = corpus.bucket(number, encoder.side_columns)
        share = _MAP_USERS // corpus.manifest.num_buckets
        rows = np.flatnonzero(bucket.lengths_U >= 5)[:share]
        ids += bucket.user_ids.take(rows).to_pylist()
        histories.append(sequences_of(bucket).take(rows))
    return ids, user_vectors(encoder, Sequences.concat(histories))
