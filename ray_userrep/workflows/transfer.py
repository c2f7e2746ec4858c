"""From a pretrained encoder to a comparison of ways to adapt it: every arm on every task, label share and seed.

Fits are short and many: they run side by side, on as many cores or GPUs as the cluster has. The encoder is pretrained
first where none is named.
"""

import time
from collections.abc import Sequence
from itertools import product
from typing import Any

from ray_userrep import storage
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.states import items_with_content
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.corpus.summary import corpus_counts
from ray_userrep.distributed.side_by_side import Setting, fitted
from ray_userrep.distributed.utilisation import spent
from ray_userrep.embedding.catalogue import on_corpus
from ray_userrep.encoder.reading import reads
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.prepare.devices import Device, with_gpu
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.recipe.corpus import ColdUserConfig
from ray_userrep.recipe.encoder import EncoderConfig, ReadoutKind
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import CrossDomainTaskConfig, NextItemTaskConfig
from ray_userrep.report.pages import transfer as page
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.training import runs
from ray_userrep.training.stored import store_result
from ray_userrep.training.warm_start import encoder_uri
from ray_userrep.transfer.arms.base import Arm, freeze
from ray_userrep.transfer.arms.build import build_arm
from ray_userrep.transfer.encoders import Keeper, look_alikes, refuse_unmergeable
from ray_userrep.transfer.figures import Comparison, task_figures
from ray_userrep.transfer.fit import FitSpec, Outcome
from ray_userrep.transfer.tasks.attribute import AttributeTask
from ray_userrep.transfer.tasks.base import Task, headline, headline_sign
from ray_userrep.transfer.tasks.build import read_tasks
from ray_userrep.transfer.tasks.dated import DatedTask
from ray_userrep.transfer.tasks.next_item import NextItemTask, over_items
from ray_userrep.transfer.tasks.overlap import (
    read_pretrained,
    refuse_nodes,
    refuse_other_log,
    refuse_overlap,
    refuse_read,
    refuse_seen_items,
    refuse_taught,
)
from ray_userrep.workflows.prepare import open_or_prepare
from ray_userrep.workflows.pretrain import run_pretrain

_PRETRAIN = "pretrain"


def run_transfer(recipe: Recipe) -> Result:
    """Compare the recipe's arms; leaves result.json and report.html in the run folder, or resumes there.

    Returns the result. It is stored before its page is drawn.
    """
    recipe.require_encoder("transfer")
    _refuse_one_domain(recipe)
    recipe, run_uri = runs.named_run(recipe)
    began = time.monotonic()
    connect()
    source = open_or_prepare(recipe)
    with runs.running(recipe, run_uri):
        result = compare(recipe, source, run_uri)
        store_result(run_uri, result | spent(began))
    print(page.printed(result))
    print(f"report    {page.draw(run_uri)}")
    return load_result(run_uri)


def compare(recipe: Recipe, source: Corpus, run_uri: str) -> Result:
    """Every fit, and the figures as `result.json` holds them.

    Raises:
        UserError: encoder, corpus, tasks or arms do not go together; before anything is fitted, except what only
            training can tell.
    """
    refuse_unshared(run_uri, "run", "--run")
    other = None if recipe.transfer.corpus is None else _open(recipe.transfer.corpus)
    is_across = isinstance(recipe.transfer.task, CrossDomainTaskConfig)  # users of one log, ratings of the other
    corpus = source if other is None or is_across else other
    arms = [build_arm(name, recipe.transfer) for name in recipe.transfer.arms]
    refuse_unmergeable(recipe, arms)
    uris = _pretrained_uris(recipe, run_uri)
    graph = None
    if recipe.transfer.encoder is not None:
        pretrained = UserEncoder.from_pretrained(uris[0])
        recipe, graph = _as_pretrained(recipe, pretrained), pretrained.graph
    corpus.manifest.require_times(recipe.encoder.reads_times())
    tasks = read_tasks(
        recipe.transfer,
        corpus,
        recipe.split,
        recipe.objective,
        recipe.evaluation,
        recipe.stream.windows,
        reads(recipe.encoder).side,
        other,
    )
    refuse_read([task.name for task in tasks], recipe.encoder.profile)
    if graph is not None and not recipe.transfer.allow_overlap:
        for task in tasks:
            if isinstance(task, NextItemTask) and isinstance(task.split.config, ColdUserConfig):
                refuse_nodes(task.name, task.known_until()[0], graph)
    checked = _check_tasks(recipe, tasks, corpus, source, uris[0])
    if recipe.transfer.encoder is None:
        for number in range(recipe.transfer.pretrain_seeds):
            _pretrain(recipe, run_uri, number)
    encoders, known = zip(*(_on_items(recipe, UserEncoder.from_pretrained(uri), corpus) for uri in uris), strict=True)
    for arm in arms:
        freeze(arm.apply(encoders[0]), arm, tasks[0])  # one that has no place here is refused before the first fit
    compared = [_compare(Setting(recipe, corpus, encoders, task, run_uri), arms) for task in tasks]
    return {
        "job": "transfer",
        "recipe": recipe.model_dump(mode="json"),
        "run": run_uri,
        "seed": recipe.seed,
        "encoders": uris,
        "overlap": checked,
        "counts": corpus_counts(corpus) | {"items_known": known[0], "items_held_out": _held_out(tasks)},
        "tasks": {one.task.name: task_figures(one, recipe) for one in compared},
    }


def _refuse_one_domain(recipe: Recipe) -> None:
    if isinstance(recipe.transfer.task, CrossDomainTaskConfig) and recipe.transfer.corpus is None:
        raise UserError(
            "transfer.task.kind cross_domain asks how users of one log rate the items of another: prepare the log of "
            "the other domain as a corpus of its own, and name it with --transfer.corpus"
        )


def _open(corpus_uri: str) -> Corpus:
    refuse_unshared(corpus_uri, "corpus", "--transfer.corpus")
    return open_corpus(corpus_uri)


def _held_out(tasks: Sequence[Task]) -> int:
    """How many items are predicted that neither pretraining nor the arms were trained on."""
    held_out = [task.held_out() for task in tasks if isinstance(task, NextItemTask)]
    return sum(len(ids) for ids in held_out if ids is not None)


def _as_pretrained(recipe: Recipe, encoder: UserEncoder) -> Recipe:
    """The recipe with the config of the encoder that is there.

    Raises:
        UserError: next items are to be predicted by an objective that the encoder was not made for; other tasks bring
            an objective of their own.
    """
    recipe = recipe.model_copy(update={"encoder": EncoderConfig.model_validate(encoder.config.encoder)})
    if not isinstance(recipe.transfer.task, NextItemTaskConfig):
        return recipe
    if reason := recipe.objective.refusal(recipe.encoder):
        raise UserError(reason)
    if recipe.objective.hides_items() and not encoder.config.hides_items:
        raise UserError(
            "objective hides items, for which the encoder has no vector: take the recipe that the encoder was "
            "pretrained with, or an objective that hides none"
        )
    return recipe


def _pretrained_uris(recipe: Recipe, run_uri: str) -> list[str]:
    """The encoders to start from: the one that the recipe names, or those of runs below this one."""
    if recipe.transfer.encoder is not None:
        return [encoder_uri(recipe.transfer.encoder, "transfer.encoder")]
    return [storage.join(_pretraining_uri(run_uri, n), "encoder") for n in range(recipe.transfer.pretrain_seeds)]


def _pretraining_uri(run_uri: str, number: int) -> str:
    return storage.join(run_uri, f"{_PRETRAIN}-{number}" if number else _PRETRAIN)


def _pretrain(recipe: Recipe, run_uri: str, number: int) -> None:
    uri = _pretraining_uri(run_uri, number)
    if not storage.exists(storage.join(uri, RESULT)):
        run_pretrain(recipe.model_copy(update={"run": uri, "seed": recipe.seed + number}))


def _on_items(recipe: Recipe, encoder: UserEncoder, corpus: Corpus) -> tuple[UserEncoder, int]:
    """The encoder over the corpus's items, and how many of them it knew.

    A task of labels or of ratings elsewhere trains no item vectors, so that an encoder that knows no item is refused.
    """
    known = int((encoder.known(corpus.items()) >= 0).sum())
    if not isinstance(recipe.transfer.task, NextItemTaskConfig):
        return on_corpus(encoder, corpus, recipe.text, recipe.train.use_gpu), known
    config = EncoderConfig.model_validate(encoder.config.encoder)
    ensure_content(corpus, config, recipe.text, recipe.train.use_gpu)
    other, known = over_items(encoder, items_with_content(corpus, config, recipe.text), recipe.seed)
    return other.eval(), known


def _check_tasks(recipe: Recipe, tasks: Sequence[Task], corpus: Corpus, source: Corpus, pretrained_uri: str) -> bool:
    """Check labels, numbers of users, and what pretraining sees of them; False where nobody knows what it saw."""
    for task in tasks:
        for share in recipe.transfer.label_shares:
            task.cut(share)
    pretraining = None if recipe.transfer.allow_overlap else _pretraining(recipe, source, pretrained_uri)
    if pretraining is None:
        return False
    trained, log, split = pretraining
    if isinstance(recipe.transfer.task, CrossDomainTaskConfig):
        refuse_other_log(tasks[0].name, log, corpus)
    refuse_taught(recipe.transfer.task, [task.name for task in tasks], trained)
    seen = read_pretrained(log, split)
    for task in tasks:
        if isinstance(task, NextItemTask) and (held_out := task.held_out()) is not None:
            refuse_seen_items(task.name, held_out, log, split)
            continue
        if isinstance(task, DatedTask):
            refuse_overlap(task.name, *task.known_until(), corpus.manifest, seen.without_test(), task.ends_before())
        else:
            refuse_overlap(task.name, *task.known_until(), corpus.manifest, seen)
    return True


def _pretraining(recipe: Recipe, source: Corpus, pretrained_uri: str) -> tuple[Recipe, Corpus, Split] | None:
    """How and on what the encoder is or was pretrained; None where its run does not say."""
    if recipe.transfer.encoder is None:
        return recipe, source, resolve(recipe.split, source)
    uri = storage.join(pretrained_uri.rsplit("/", 1)[0], "recipe.json")
    if not storage.exists(uri):
        return None
    trained = Recipe.model_validate_json(storage.read_text(uri))
    if trained.corpus.uri is None:
        return None
    log = open_corpus(trained.corpus.uri, trained.corpus.version)
    return trained, log, resolve(trained.split, log)


def _compare(setting: Setting, arms: list[Arm]) -> Comparison:
    """All fits of a task; each arm and seed with the learning rate and readout that validation prefers."""
    recipe, _, (encoder, *_), task, run_uri = setting
    shares, seeds = recipe.transfer.label_shares, range(recipe.seed, recipe.seed + recipe.transfer.num_seeds)
    readouts, use_gpu = _readouts(recipe, encoder), recipe.train.use_gpu
    asked = {
        (share, arm, seed): [
            FitSpec(share, seed, rate, how) for how, rate in product(readouts, recipe.transfer.learning_rates)
        ]
        for share, arm, seed in product(shares, arms, seeds)
    }
    keeper = Keeper(recipe.transfer, headline_sign(task))
    outcomes: dict[float, dict[str, list[Outcome]]] = {share: {arm.name: [] for arm in arms} for share in shares}
    with fitted(setting, [(arm, fit) for (_, arm, _), fits in asked.items() for fit in fits]) as coming:
        baselines = {share: task.baselines(share) if recipe.evaluation.baselines else {} for share in shares}
        asks_trees = recipe.evaluation.baselines
        has_trees = asks_trees and isinstance(task, AttributeTask)
        fusion = with_gpu(use_gpu, _fusion, task, encoder, shares) if has_trees else {}
        for (share, arm, seed), fits in asked.items():
            found = [next(coming) for _ in fits]
            for fit, outcome in zip(fits, found, strict=True):
                keeper.offer(arm, fit, outcome, setting.place(arm, fit))
            outcomes[share][arm.name].append(best := _best(found, headline_sign(task)))
            print(_line(task, arm, share, seed, best), flush=True)
    encoders = {seed: setting.encoders[setting.pretraining(seed)] for seed in seeds}
    kept = with_gpu(use_gpu, keeper.export, recipe, encoders.__getitem__, task, run_uri)
    alike = with_gpu(use_gpu, _look_alikes, task, encoder, readouts, kept, recipe.evaluation.confidence)
    return Comparison(task, outcomes, baselines, fusion, kept, alike)


def _fusion(task: AttributeTask, encoder: UserEncoder, shares: Sequence[float], device: Device) -> Any:
    return task.fusion(encoder.to(device), shares)  # type: ignore[arg-type]


def _look_alikes(
    task: Task,
    encoder: UserEncoder,
    readouts: list[ReadoutKind],
    kept: dict[str, Any] | None,
    confidence: float,
    device: Device,
) -> Any:
    return look_alikes(task, encoder.to(device), readouts, kept, confidence)  # type: ignore[arg-type]


def _best(found: list[Outcome], sign: int) -> Outcome:
    """The fit that validation prefers; its cost is that of all of them."""
    best = max(found, key=lambda outcome: sign * outcome.validation)
    return best._replace(steps=sum(one.steps for one in found), seconds=sum(one.seconds for one in found))


def _readouts(recipe: Recipe, encoder: UserEncoder) -> list[ReadoutKind]:
    """The readouts to try; next items are predicted from where pretraining predicts them."""
    if isinstance(recipe.transfer.task, NextItemTaskConfig):
        return [encoder.readout]
    return list(dict.fromkeys(encoder.readout if name == "own" else name for name in recipe.transfer.readouts))


def _line(task: Task, arm: Arm, share: float, seed: int, outcome: Outcome) -> str:
    return (
        f"{task.name}  {arm.name}  share {share:g}  seed {seed}  validation {headline(task)} {outcome.validation:.4f}  "
        f"{outcome.steps} steps, {outcome.seconds:.1f} s"
    )
