"""The result of a model of text: what it answers, beside what needs no model, as a run stores it."""

from typing import Any

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import corpus_counts, corpus_facts
from ray_userrep.evaluation.simple import measure_simple
from ray_userrep.generative.fit import load_text_model
from ray_userrep.generative.lexicon import LEXICON, Lexicon
from ray_userrep.generative.measure import measure_text
from ray_userrep.recipe.recipe import Recipe

JOB = "pretrain text"


def text_result(recipe: Recipe, corpus: Corpus, run_uri: str, device: Any) -> dict[str, Any]:
    """Measure a run's model on a device, beside the simple methods that encoders are measured beside."""
    split = resolve(recipe.split, corpus)
    model, lexicon = load_text_model(run_uri), Lexicon.load(storage.join(run_uri, LEXICON))
    found = measure_text(recipe, corpus, split, model.to(device), lexicon)
    if recipe.evaluation.baselines and found["baselines"]["item"]:
        found["baselines"]["item"] |= measure_simple(corpus, split, recipe.evaluation).figures
    return {
        "job": JOB,
        "recipe": recipe.model_dump(mode="json"),
        "split_fingerprint": split.fingerprint(corpus.manifest, recipe.evaluation.exclude_seen),
        "seed": recipe.seed,
        "parameters": model.parameters_by_kind(),
        "vocabulary": len(lexicon.vocabulary),
        "corpus": corpus_facts(corpus),
        "counts": corpus_counts(corpus) | {"test_users": found.pop("test_users")},
        **found,
    }
