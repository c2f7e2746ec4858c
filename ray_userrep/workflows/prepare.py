"""From a log to a corpus, for the job that only prepares and for those that need a corpus to go on."""

import hashlib
import json

from ray_userrep import storage
from ray_userrep.corpus.features import column_of
from ray_userrep.corpus.relations import refuse_unrelated
from ray_userrep.corpus.store import Corpus, newest_version, open_corpus
from ray_userrep.corpus.summary import corpus_counts, corpus_facts
from ray_userrep.distributed.gauges import show_quarantined
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import join, refuse_unshared
from ray_userrep.logs.source import Logs, open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.side_tables import read_sources
from ray_userrep.prepare.survey import plain, survey
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages import data as page
from ray_userrep.report.results import Result, load_result
from ray_userrep.training.stored import store_result


def run_prepare(recipe: Recipe) -> Result:
    """Prepare the recipe's log; leaves result.json and report.html in the corpus folder, returns the result."""
    join()
    corpus = _prepared(recipe)
    show_quarantined(corpus.uri, corpus.manifest.quarantined)
    return described(recipe, corpus)


def described(recipe: Recipe, corpus: Corpus) -> Result:
    """Count what a corpus holds and how the recipe splits it; leaves result.json and report.html in its folder."""
    sources = read_sources(corpus)
    result: Result = {
        "job": "prepare",
        "recipe": recipe.model_dump(mode="json"),
        "corpus": corpus_facts(corpus),
        "counts": corpus_counts(corpus),
        "sources": {"files": len(sources), "bytes": sum(file.size for file in sources.values())},
        **plain(survey(recipe, corpus)),
    }
    store_result(corpus.uri, result)
    print("\n".join(f"{name:22s} {value}" for name, value in page.describe(result["corpus"]).items()))
    print(f"corpus    {corpus.uri} (version {corpus.manifest.version})")
    print(f"report    {page.draw(corpus.uri)}")
    return load_result(corpus.uri)


def open_or_prepare(recipe: Recipe) -> Corpus:
    """The recipe's corpus: opened where one is named without a log, else prepared, unless that was done before.

    What the recipe's encoder makes items from, as vectors of their texts, is made where it is not there.

    Raises:
        UserError: the log cannot be prepared, or has no times where the recipe reads some, or the corpus is where only
            one of several nodes can see it.
    """
    reader = recipe.reads_times()
    if reader is not None and recipe.logs.order == "row":  # told before the log is read
        raise UserError(f"{reader} reads times, and logs.order row does without: leave one of the two out")
    corpus = _prepared(recipe)
    corpus.manifest.require_times(reader)
    return corpus


def _prepared(recipe: Recipe) -> Corpus:
    corpus = _open_or_prepare(recipe)
    _refuse_missing_columns(recipe, corpus.item_columns())
    ensure_content(corpus, recipe.encoder, recipe.text, recipe.train.use_gpu)
    return corpus


def _refuse_missing_columns(recipe: Recipe, there: list[str]) -> None:
    """Refuse items without the columns that the recipe's encoder makes vectors of, before a log is read."""
    items = recipe.encoder.feature_items()
    for name in () if items is None else (*items.columns, *items.numbers):
        column_of(name, there)


def _open_or_prepare(recipe: Recipe) -> Corpus:
    named = recipe.corpus.uri and storage.absolute(recipe.corpus.uri)
    if named and newest_version(named) is None:  # one that was submitted with the job is read, another is kept
        named = storage.kept(str(recipe.corpus.uri))
    _refuse_unnamed(recipe)
    for name, place in (("corpus", recipe.corpus.uri), ("run", recipe.run)):
        if place is not None:
            _refuse_within(recipe, name, storage.absolute(place))
    there = named is not None and newest_version(named) is not None
    if named and there and (recipe.logs.uri is None or recipe.corpus.version is not None):
        refuse_unshared(named)
        return open_corpus(named, recipe.corpus.version)
    if named and there and recipe.corpus.append:
        refuse_unshared(named)
        return open_corpus(named, append(recipe.logs, recipe.corpus, named).version)
    logs = open_logs(recipe.logs)
    if recipe.needs_relations():
        refuse_unrelated(logs.relations is not None, logs.uri)
    _refuse_missing_columns(recipe, [] if logs.items is None else logs.items.column_names)
    uri = named or default_uri(recipe, logs)
    _refuse_within(recipe, "corpus", uri)
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


def _refuse_within(recipe: Recipe, name: str, place: str) -> None:
    """Refuse to write into the log's folder, which is read whole the next time.

    Raises:
        UserError: the place is the log's own, or lies in it.
    """
    log = None if recipe.logs.uri is None else storage.absolute(recipe.logs.uri)
    if log is not None and f"{place}/".startswith(f"{log.rstrip('/')}/"):
        raise UserError(
            f"the {name} would lie inside the log's folder, {place} in {log}, and be read as a part of the log: name "
            f"another place with --{name}, or the log's own files with --logs"
        )


def default_uri(recipe: Recipe, logs: Logs) -> str:
    """A folder named by what goes in, so that the same log is prepared once."""
    key = json.dumps([logs.uri, logs.fingerprint, recipe.corpus.model_dump(exclude={"uri", "append", "version"})])
    return storage.join(storage.home(), f"corpora/{logs.reader}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
