"""A sequence of tasks learned one after the other by several methods, and how much each method forgets.

All of it runs in this process, on its GPU if it has one: what is measured is what a method forgets, and the tasks that
come first are as small as those that come last. A job that was cut short goes on with its unfinished task.
"""

import time
from functools import partial

import torch

from ray_userrep import storage
from ray_userrep.corpus.states import items_with_content
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.corpus.summary import corpus_counts
from ray_userrep.distributed.side_by_side import bare_engine
from ray_userrep.distributed.utilisation import spent
from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect
from ray_userrep.prepare.devices import Device
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.recipe.encoder import GNNConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages import continual as page
from ray_userrep.report.results import Result, load_result
from ray_userrep.training import runs
from ray_userrep.training.stored import store_result
from ray_userrep.transfer.continual.figures import method_figures, over_single, task_figures
from ray_userrep.transfer.continual.fit import Learned, learn_sequence
from ray_userrep.transfer.continual.masks import MAX_TASKS, free_owners
from ray_userrep.transfer.continual.methods import METHODS, Method, Stage
from ray_userrep.transfer.tasks.base import headline
from ray_userrep.transfer.tasks.build import read_tasks
from ray_userrep.transfer.tasks.next_item import NextItemTask
from ray_userrep.transfer.tasks.overlap import read_pretrained, refuse_overlap, refuse_read
from ray_userrep.workflows.prepare import open_or_prepare


def run_continual(recipe: Recipe) -> Result:
    """Learn the recipe's tasks in turn; leaves result.json and report.html in the run folder, or resumes there.

    Returns the result. It is stored before its page is drawn.
    """
    recipe.require_encoder("continual")
    _refuse_unused(recipe)
    recipe, run_uri = runs.named_run(recipe)
    began = time.monotonic()
    connect()
    source = open_or_prepare(recipe)
    with runs.running(recipe, run_uri):
        result = compare_methods(recipe, source, run_uri)
        store_result(run_uri, result | spent(began))
    print(page.printed(result))
    print(f"report    {page.draw(run_uri)}")
    return load_result(run_uri)


def compare_methods(recipe: Recipe, source: Corpus, run_uri: str) -> Result:
    """Every method's run of the sequence, and the figures as `result.json` holds them.

    Raises:
        UserError: corpora, tasks and encoder do not go together; before anything is trained, except what only training
            can tell.
    """
    stages, corpora = read_stages(recipe, source)
    checked = _check(recipe, stages, corpora)
    learned: dict[str, list[list[Learned]]] = {}
    for method in (METHODS[name] for name in recipe.continual.methods):
        learned[method.name] = []
        for seed in range(recipe.seed, recipe.seed + recipe.continual.num_seeds):
            seeded = recipe.model_copy(update={"seed": seed})
            seed_uri = storage.join(run_uri, f"seed-{seed}")
            learned[method.name].append(_sequence(seeded, stages, corpora, method, seed_uri))
    return {
        "job": "continual",
        "recipe": recipe.model_dump(mode="json"),
        "run": run_uri,
        "seed": recipe.seed,
        "overlap": checked,
        "counts": corpus_counts(source),
        "tasks": {stage.name: task_figures(stage, recipe.evaluation) for stage in stages},
        "methods": {name: method_figures(stages, found, recipe.evaluation) for name, found in learned.items()},
        "over_single": over_single(stages, learned, recipe.evaluation),
    }


def read_stages(recipe: Recipe, source: Corpus) -> tuple[list[Stage], list[Corpus]]:
    """The places of the sequence, and the corpus of each.

    Raises:
        UserError: a corpus lacks what a task needs, or the sequence is longer than masks can tell apart.
    """
    stages, corpora = [], []
    opened = {source.uri: (source, _fresh(recipe, source))}
    for place in recipe.continual.tasks:
        uri = source.uri if place.corpus is None else storage.absolute(place.corpus)
        if uri not in opened:
            opened[uri] = (corpus := open_corpus(uri), _fresh(recipe, corpus))
        corpus, fresh = opened[uri]
        where = "" if uri == source.uri else f" of {uri.rsplit('/', 1)[-1]}"
        for task in read_tasks(
            recipe.transfer.model_copy(update={"task": place.task}),
            corpus,
            recipe.split,
            recipe.objective,
            recipe.evaluation,
            recipe.stream.windows,
            fresh.side_columns,
        ):
            refuse_read([task.name], recipe.encoder.profile)
            stages.append(Stage(task.name + where, task, fresh, uri))
            corpora.append(corpus)
    names = [stage.name for stage in stages]
    if len(names) > MAX_TASKS or len(set(names)) < len(names):
        raise UserError(f"continual.tasks takes up to {MAX_TASKS} tasks, each once: {', '.join(names)}")
    return stages, corpora


def _fresh(recipe: Recipe, corpus: Corpus) -> UserEncoder:
    """An encoder over a corpus's items with first weights, the same for every method.

    Raises:
        UserError: it cannot be frozen in part, or looks up users of one task.
    """
    if isinstance(recipe.encoder.backbone, GNNConfig):
        raise UserError(
            "encoder.backbone.kind gnn looks into one graph of users, and each task of continual has test users of its "
            "own: take another kind"
        )
    corpus.manifest.require_times(recipe.encoder.reads_times())
    ensure_content(corpus, recipe.encoder, recipe.text, recipe.train.use_gpu)
    items = items_with_content(corpus, recipe.encoder, recipe.text)
    torch.manual_seed(recipe.seed)
    encoder = build_encoder(recipe.encoder, items, recipe.stream.max_len, recipe.objective.hides_items())
    if any(isinstance(module, RowItems) for module in encoder.modules()):
        raise UserError("encoder.items.kind rows cannot be frozen, which a sequence of tasks needs: use id")
    return encoder.to(_device(recipe))  # type: ignore[arg-type]


def _device(recipe: Recipe) -> Device:
    return "cuda" if recipe.train.use_gpu is not False and torch.cuda.is_available() else "cpu"


def _check(recipe: Recipe, stages: list[Stage], corpora: list[Corpus]) -> bool:
    """Check users, masks and what earlier tasks saw of later ones' test users, before the first fit."""
    if "conure" in recipe.continual.methods:
        free_owners(stages[0].fresh)
    for stage in stages:
        stage.task.cut(1.0)
    for number, (stage, corpus) in enumerate(zip(stages, corpora, strict=True)):
        if isinstance(stage.task, NextItemTask) and not recipe.transfer.allow_overlap:
            seen = read_pretrained(corpus, stage.task.split)
            for later, other in zip(stages[number + 1 :], corpora[number + 1 :], strict=True):
                refuse_overlap(later.name, *later.task.known_until(), other.manifest, seen)
    return not recipe.transfer.allow_overlap


def _refuse_unused(recipe: Recipe) -> None:
    """Refuse what a comparison of arms takes and a sequence does not."""
    for name in ("encoder", "corpus"):
        if getattr(recipe.transfer, name) is not None:
            raise UserError(f"transfer.{name} is not for this job: a sequence begins with the first of continual.tasks")
    if len(recipe.transfer.learning_rates) > 1:
        raise UserError(
            f"transfer.learning_rates {list(recipe.transfer.learning_rates)}: a sequence is learned with one rate, "
            "such as '[0.001]'"
        )


def _sequence(
    recipe: Recipe, stages: list[Stage], corpora: list[Corpus], method: Method, seed_uri: str
) -> list[Learned]:
    """One seed's run of the sequence, from first weights of its own."""
    fresh = {uri: _fresh(recipe, corpus) for uri, corpus in {corpus.uri: corpus for corpus in corpora}.items()}
    stages = [stage._replace(fresh=fresh[stage.catalogue]) for stage in stages]

    def told(stage: Stage, learned: Learned) -> None:
        print(
            f"{method.name}  seed {recipe.seed}  {stage.name}  validation {headline(stage.task)} "
            f"{learned.validation:.4f}  {learned.steps} steps, {learned.seconds:.1f} s",
            flush=True,
        )

    make_engine = partial(bare_engine, device=_device(recipe))
    learned = learn_sequence(recipe, stages, corpora, method, seed_uri, make_engine, told)
    # The weights of all times and methods together may be many item tables: they stay in the run folder.
    return [one._replace(kept=one.kept._replace(own={}, heads={})) for one in learned]
