"""Measuring an encoder on the held-out test items, beside tuned baselines on the same users.

One process does it, on a GPU where there is one: scores are made for a few users at a time, so that memory does not
grow with users times items.
"""

import time

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import corpus_counts, corpus_facts
from ray_userrep.distributed.connection import connect
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.kept import write_ranks
from ray_userrep.evaluation.portrait import map_of_users, nearest_items
from ray_userrep.evaluation.profile import measure_profile
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import HEADLINE, comparison, summary
from ray_userrep.evaluation.universality import measure_universality
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages import pretrain as page
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.training.runs import ENVIRONMENT, environment
from ray_userrep.workflows.prepare import open_or_prepare


def run_evaluate(recipe: Recipe, encoder_uri: str, output_uri: str) -> Result:
    """Measure an encoder on a recipe's corpus; leaves result.json and report.html in a folder, returns the result.

    Raises:
        UserError: the folder has a result, or as `measure`.
    """
    folder = storage.kept(output_uri)
    result_uri = storage.join(folder, RESULT)
    if storage.exists(result_uri):
        raise UserError(f"{result_uri} is there already: name another folder with --output")
    connect()
    began = time.perf_counter()
    corpus = open_or_prepare(recipe)
    encoder = UserEncoder.from_pretrained(encoder_uri)
    result = measure(recipe, corpus, encoder, folder, job="evaluate")
    result |= {"encoder": encoder_uri, "timings": {"evaluate": time.perf_counter() - began}}
    storage.write_json(storage.join(folder, ENVIRONMENT), environment())
    storage.write_json(result_uri, result)
    print(page.printed(result))
    print(f"result    {result_uri}")
    print(f"report    {page.draw(folder)}")
    return load_result(folder)


def measure(recipe: Recipe, corpus: Corpus, encoder: UserEncoder, folder: str, job: str) -> Result:
    """Metrics with intervals, baselines, and the paired comparison with the best of them, as `result.json` holds them.

    Every user's ranks are kept in the folder, for comparisons with other runs.

    Raises:
        UserError: the encoder's items are not the corpus's, or no user has a test item.
    """
    encoder = on_corpus(encoder, corpus, recipe.text)
    config, manifest = recipe.evaluation, corpus.manifest
    split = resolve(recipe.split, corpus)
    test = read_histories(corpus, split, "test", config.max_users, encoder.side_columns)
    if not test.num_users:
        raise UserError(
            f"no user of {corpus.uri} has an interaction to test on: split.rule {recipe.split.rule} needs more"
        )
    ours = ranks(encoder_scorer(encoder), test, manifest.num_items, config.exclude_seen)
    result: Result = {
        "job": job,
        "recipe": recipe.model_dump(mode="json"),
        "split_fingerprint": split.fingerprint(manifest, config.exclude_seen),
        "seed": recipe.seed,
        "metrics": summary(ours, config, test.users_U),
        "baselines": {},
        "profile": measure_profile(corpus, split, encoder, config),
        "universality": measure_universality(corpus, split, encoder, config),
        "parameters": encoder.parameters_by_kind(),
        "nearest_items": nearest_items(encoder),
        "user_map": map_of_users(corpus, encoder),
        "corpus": corpus_facts(corpus),
        "counts": corpus_counts(corpus) | {"test_users": len(np.unique(test.users_U))},
    }
    kept = {"encoder": ours}
    if config.baselines:
        tuned = tuned_baselines(corpus, split, config)
        result["baselines"] = {
            name: summary(one.ranks_U, config, test.users_U) | {"setting": one.setting} for name, one in tuned.items()
        }
        best = max(tuned, key=lambda name: result["baselines"][name][HEADLINE]["mean"])
        kept[best] = tuned[best].ranks_U
        result["over_best_baseline"] = {"baseline": best, **comparison(ours, tuned[best].ranks_U, config, test.users_U)}
    write_ranks(folder, test.users_U, test.targets_U, kept)
    return result
