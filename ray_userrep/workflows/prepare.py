"""From a log to a corpus, for the job that only prepares and for those that need a corpus to go on."""

import hashlib
import json

from ray_userrep import storage
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.store import Corpus, newest_version, open_corpus
from ray_userrep.distributed.connection import connect, refuse_unshared
from ray_userrep.errors import UserError
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.encode_text import ensure_text_vectors
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages.data import write_data_report


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
    _refuse_unnamed(recipe)
    there = named is not None and newest_version(named) is not None
    if named and there and (recipe.logs.uri is None or recipe.corpus.version is not None):
        refuse_unshared(named)
        return open_corpus(named, recipe.corpus.version)
    if named and there and recipe.corpus.append:
        refuse_unshared(named)
        return open_corpus(named, append(recipe.logs, recipe.corpus, named).version)
    logs = open_logs(recipe.logs)
    uri = named or default_uri(recipe, logs)
    refuse_unshared(uri)
    return open_corpus(uri, prepare(logs, recipe.corpus, uri).version)


def _refuse_unnamed(recipe: Recipe) -> None:
    """Refuse what only makes sense for a corpus that is there already, or may be."""
    if recipe.corpus.uri is None and (recipe.corpus.append or recipe.corpus.version is not None):
        field = "append" if recipe.corpus.append else "version"
        raise UserError(f"corpus.{field} needs a corpus: name it with --corpus")
    if recipe.corpus.append and recipe.corpus.version is not None:
        raise UserError("corpus.append adds to the newest version: leave out corpus.version")
    if recipe.corpus.append and recipe.logs.uri is None:
        raise UserError("corpus.append needs the log, or its new files: name them with --logs")


def default_uri(recipe: Recipe, logs: Logs) -> str:
    """A local folder named by what goes in, so that the same log is prepared once."""
    key = json.dumps([logs.uri, logs.fingerprint, recipe.corpus.model_dump(exclude={"uri", "append", "version"})])
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
    if manifest.removed_by_k_core:
        bounds = f"users {manifest.k_core['users']}, items {manifest.k_core['items']}"
        removed = ", ".join(f"{count:,} {what}" for what, count in manifest.removed_by_k_core.items())
        rows["k-core"] = f"{bounds}; removed {removed}"
    rows |= {f"  {name or 'no domain'}": f"{count:,} interactions" for name, count in manifest.domains.items()}
    rows |= {f"  {reason}": f"{count:,} quarantined" for reason, count in manifest.quarantined.items()}
    return "\n".join(f"{name:22s} {value}" for name, value in rows.items())
