"""From a log to a corpus, for the job that only prepares and for those that need a corpus to go on."""

import hashlib
import json

import ray

from ray_userrep import storage
from ray_userrep.corpus.encode_text import ensure_text_vectors
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.prepare import prepare
from ray_userrep.corpus.store import Corpus, newest_version, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.recipe import Recipe
from ray_userrep.workflows.cluster import connect
from ray_userrep.workflows.data_report import write_data_report


def run_prepare(recipe: Recipe) -> None:
    """Prepare the recipe's log and say what came of it."""
    connect()
    corpus = open_or_prepare(recipe)
    print(describe(corpus.manifest))
    print(f"corpus    {corpus.uri} (version {corpus.manifest.version})")
    print(f"report    {write_data_report(recipe, corpus)}")


def open_or_prepare(recipe: Recipe) -> Corpus:
    """The recipe's corpus: opened where one is named without a log, else prepared, unless that was done before.

    Item texts are encoded where the recipe's encoder reads them.

    Raises:
        UserError: the log cannot be prepared, or the corpus is where only one of several nodes can see it.
    """
    corpus = _open_or_prepare(recipe)
    if recipe.encoder.needs_text():
        ensure_text_vectors(corpus, recipe.text)
    return corpus


def _open_or_prepare(recipe: Recipe) -> Corpus:
    named = recipe.corpus.uri and storage.absolute(recipe.corpus.uri)
    if named and recipe.logs.uri is None and newest_version(named) is not None:
        refuse_unshared(named)
        return open_corpus(named)
    logs = open_logs(recipe.logs)
    uri = named or default_uri(recipe, logs)
    refuse_unshared(uri)
    return open_corpus(uri, prepare(logs, recipe.corpus, uri).version)


def refuse_unshared(uri: str, what: str = "corpus", option: str = "--corpus") -> None:
    """Refuse a local folder on a cluster of several nodes: each would write into a folder of its own.

    Raises:
        UserError: that is the case.
    """
    num_nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
    if storage.is_local(uri) and num_nodes > 1:
        raise UserError(
            f"{what} folder {uri} is a local path, but the cluster has {num_nodes} nodes that cannot all see it: "
            f"name a shared place with {option}, such as s3://bucket/{what}s/name"
        )


def default_uri(recipe: Recipe, logs: Logs) -> str:
    """A local folder named by what goes in, so that the same log is prepared once."""
    key = json.dumps([logs.uri, logs.fingerprint, recipe.corpus.model_dump(exclude={"uri"})])
    return storage.absolute(f"corpora/{logs.reader}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")


def describe(manifest: Manifest) -> str:
    """The counts of a corpus, aligned."""
    days = list(manifest.interactions_per_day)
    rows = {
        "interactions": f"{manifest.num_interactions:,}",
        "users": f"{manifest.num_users:,}",
        "items": f"{manifest.num_items:,}",
        "days": f"{days[0]} to {days[-1]}",
        "ties": f"{manifest.num_ties:,} ({manifest.num_duplicates:,} duplicates)",
    }
    rows |= {f"  {reason}": f"{count:,} quarantined" for reason, count in manifest.quarantined.items()}
    return "\n".join(f"{name:22s} {value}" for name, value in rows.items())
