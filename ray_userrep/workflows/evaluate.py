"""Measuring an encoder on the held-out test items, beside tuned baselines on the same users.

One process does it, a task with a GPU where the cluster has one, else the driver: scores are made for a few users at a
time, and of a large log a sample of the users is read, so that memory grows neither with users times items nor with the
log.
"""

import time

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import corpus_counts, corpus_facts
from ray_userrep.distributed.utilisation import spent
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.encoder.folder import own_folder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Histories, num_asked, read_histories
from ray_userrep.evaluation.kept import Ranks, write_ranks
from ray_userrep.evaluation.portrait import map_of_users, nearest_items
from ray_userrep.evaluation.profile import measure_profile
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.repeats import are_repeats
from ray_userrep.evaluation.simple import Simple, measure_simple
from ray_userrep.evaluation.slices import by_slice, slice_of_items
from ray_userrep.evaluation.statistics import comparison, summary
from ray_userrep.evaluation.universality import measure_universality, most_users
from ray_userrep.logs.connection import connect
from ray_userrep.prepare.devices import Device, with_gpu
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages import pretrain as page
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.training.runs import ENVIRONMENT, environment
from ray_userrep.training.stored import store_result
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
    if folder == own_folder(storage.absolute(encoder_uri)):
        raise UserError(f"{folder} is the encoder's own folder: name another with --output")
    began = time.monotonic()
    connect()
    corpus = open_or_prepare(recipe)
    result = measure(recipe, corpus, UserEncoder.from_pretrained(encoder_uri), folder, job="evaluate")
    result |= {"encoder": encoder_uri, "timings": {"evaluate": time.monotonic() - began}} | spent(began)
    storage.write_json(storage.join(folder, ENVIRONMENT), environment(recipe.train.use_gpu))
    store_result(folder, result)
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
    use_gpu = recipe.train.use_gpu
    encoder = on_corpus(encoder, corpus, recipe.text, use_gpu)
    return with_gpu(use_gpu, measure_on, recipe, corpus, encoder, folder, job)


def measure_on(
    recipe: Recipe,
    corpus: Corpus,
    encoder: UserEncoder,
    folder: str,
    job: str,
    device: Device,
    simple: Simple | None = None,
) -> Result:
    """What `measure` gives, on a device, of an encoder over the corpus's items; simple methods may be given, measured.

    Raises:
        UserError: no user has a test item.
    """
    encoder.to(device)  # type: ignore[arg-type]
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
        "repeats": float(are_repeats(test.targets_U, test.items_N, test.lengths_U).mean()),
        "baselines": {},
        "slices": {},
        "profile": measure_profile(corpus, split, encoder, config),
        "universality": measure_universality(corpus, split, encoder, config),
        "parameters": encoder.parameters_by_kind(),
        "nearest_items": nearest_items(encoder),
        "user_map": map_of_users(corpus, encoder),
        "corpus": corpus_facts(corpus),
        "counts": corpus_counts(corpus) | {"test_users": len(np.unique(test.users_U))},
        "samples": _samples(corpus, split, test, config),
    }
    systems = kept = {"encoder": ours}
    if config.baselines:
        simple = simple or measure_simple(corpus, split, config)
        result["baselines"] = simple.figures
        kept, systems = kept | {simple.best: simple.ranks[simple.best]}, systems | simple.ranks
        over = comparison(ours, simple.ranks[simple.best], config, test.users_U)
        result["over_best_baseline"] = {"baseline": simple.best, **over}
    slices_U = slice_of_items(corpus.items().counts())[test.targets_U]
    result["slices"] = by_slice(slices_U, systems, test.users_U, config)
    write_ranks(folder, Ranks(test.users_U, test.targets_U, slices_U, kept))
    return result


def _samples(corpus: Corpus, split: Split, test: Histories, config: EvaluationConfig) -> dict[str, dict[str, int]]:
    """Of how many users what is measured are samples, and how large these are; only where not all were taken."""
    found, num_users, ranked = {}, corpus.manifest.num_users, len(np.unique(test.users_U))
    if ranked == config.max_users and (of := num_asked(corpus, split, "test")) > ranked:
        found["ranked"] = {"users": ranked, "of": of}
    if config.fitted_users is not None and config.fitted_users < num_users:
        found["fitted"] = {"users": config.fitted_users, "of": num_users}
    if most_users(config) < num_users:
        found["universality"] = {"users": most_users(config), "of": num_users}
    return found
