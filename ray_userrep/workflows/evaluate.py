"""Measuring an encoder on the held-out test items, beside tuned baselines on the same users.

One process does it, on a GPU where there is one: scores are made for a few users at a time, so that memory does not
grow with users times items.
"""

from typing import Any

import numpy as np
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.text import items_with_text
from ray_userrep.distributed.connection import connect
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.profile import measure_profile
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import HEADLINE, comparison, format_table, summary
from ray_userrep.prepare.encode_text import ensure_text_vectors
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.workflows.prepare import open_or_prepare

Result = dict[str, Any]


def run_evaluate(recipe: Recipe, encoder_uri: str, output_uri: str) -> None:
    """Measure an encoder on a recipe's corpus and write result.json into a folder."""
    result_uri = storage.join(storage.absolute(output_uri), "result.json")
    if storage.exists(result_uri):
        raise UserError(f"{result_uri} is there already: name another folder with --output")
    connect()
    corpus = open_or_prepare(recipe)
    encoder = UserEncoder.from_pretrained(encoder_uri)
    result = measure(recipe, corpus, encoder, job="evaluate")
    storage.write_json(result_uri, result)
    print(printed(result))
    print(f"result    {result_uri}")


def measure(recipe: Recipe, corpus: Corpus, encoder: UserEncoder, job: str) -> Result:
    """Metrics with intervals, baselines, and the paired comparison with the best of them, as `result.json` holds them.

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
        "parameters": encoder.parameters_by_kind(),
        "counts": {
            "interactions": manifest.num_interactions,
            "users": manifest.num_users,
            "items": manifest.num_items,
            "test_users": len(np.unique(test.users_U)),
            "quarantined": manifest.quarantined,
        },
    }
    if config.baselines:
        tuned = tuned_baselines(corpus, split, config)
        result["baselines"] = {
            name: summary(one.ranks_U, config, test.users_U) | {"setting": one.setting} for name, one in tuned.items()
        }
        best = max(tuned, key=lambda name: result["baselines"][name][HEADLINE]["mean"])
        result["over_best_baseline"] = {"baseline": best, **comparison(ours, tuned[best].ranks_U, config, test.users_U)}
    return result


def on_corpus(encoder: UserEncoder, corpus: Corpus, text: TextConfig) -> UserEncoder:
    """The encoder over the corpus's items, on the device that is there."""
    items = corpus.items()
    if encoder.item_table is None or not encoder.item_table.ids.equals(items.ids):
        if not encoder.config.text_width and not (encoder.known(items) >= 0).any():
            raise UserError(f"the encoder knows none of the {len(items)} items of {corpus.uri}: is it of another log?")
        if encoder.config.text_width:
            ensure_text_vectors(corpus, text)
            items = items_with_text(corpus, text)
        encoder = encoder.with_items(items)
    return encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def printed(result: Result) -> str:
    """The table and the verdict that a job prints."""
    rows = {name: row for name, row in result["baselines"].items()} | {result["recipe"]["name"]: result["metrics"]}
    lines = [format_table(rows, ["hr@10", HEADLINE, "mrr@10"]), verdict(result)]
    lines += [profile_line(name, attribute) for name, attribute in result["profile"].items()]
    return "\n".join(lines)


def profile_line(name: str, attribute: dict[str, Any]) -> str:
    """What a linear model reads of one attribute from the vectors, beside item counts where those were measured."""
    headline, metrics = attribute["headline"], attribute["metrics"]
    figures = [f"{system} {metrics[system][headline]['mean']:.3f}" for system in metrics if headline in metrics[system]]
    return f"profile   {name}: {headline} " + ", ".join(figures)


def verdict(result: Result) -> str:
    """Whether pretraining won, in one sentence, also when it did not."""
    difference = result.get("over_best_baseline")
    if difference is None:
        return "No baselines were measured."
    interval = f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    if difference["low"] > 0:
        words = "The encoder beats the best tuned baseline"
    elif difference["high"] < 0:
        words = "The best tuned baseline beats the encoder"
    else:
        words = "The encoder and the best tuned baseline cannot be told apart"
    return (
        f"{words} ({difference['baseline']}): NDCG@10 {interval}, paired over {result['counts']['test_users']:,} users."
    )
