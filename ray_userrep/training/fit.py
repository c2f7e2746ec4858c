"""One rank's part of a run, from opened corpus to exported encoder, whatever engine drives it.

The bare loop and every distributed worker call the same function; only how the engine is made differs.

Shapes: V items.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ray_userrep import storage
from ray_userrep.corpus.graph import UserItemGraph, read_graph
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.splits import Cut, Split, resolve
from ray_userrep.corpus.states import items_with_content
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.bag import Moments, scaled_bag
from ray_userrep.encoder.fields import refuse_missing
from ray_userrep.encoder.histories import history_sums
from ray_userrep.encoder.items.rows import row_tables
from ray_userrep.encoder.profile import refuse_profile
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.evaluation.histories import read_histories, refuse_unmeasured
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.feed.cutting import BucketWindows, WindowSource
from ray_userrep.feed.plan import BatchPlan, Position
from ray_userrep.feed.ranks import ALONE, Ranks
from ray_userrep.feed.stream import Step, buckets_held, make_plan, steps, train_counts
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.impressions import Impressions
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.objectives.reconstruct import Oracle
from ray_userrep.objectives.social import Society
from ray_userrep.recipe.encoder import GNNConfig
from ray_userrep.recipe.objective import ImpressionsConfig, SocialConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.ahead import reading_ahead
from ray_userrep.training.best import has_best, keep_best_of_ranks, read_best
from ray_userrep.training.callbacks import Epochs, Log, Record, Save, Sink, Validate
from ray_userrep.training.checkpoint import Checkpoints
from ray_userrep.training.effort import effort
from ray_userrep.training.impressions import read_impressions
from ray_userrep.training.loop import Loop, TrainState
from ray_userrep.training.ranks import Together, told
from ray_userrep.training.records import MetricsFile, TensorBoard
from ray_userrep.training.step import Engine, Micros, Trainable, TrainModel, draws_at, prepare_micros
from ray_userrep.training.trackers import tracked
from ray_userrep.training.validation import (
    LIKELIHOOD,
    RANKING,
    VECTOR,
    likelihood_metrics,
    ranking_metrics,
)
from ray_userrep.training.warm_start import Unshard, warm_start

_FITTED_USERS = 200_000  # directions of 512 numbers are known well before

EngineFactory = Callable[[TrainModel[Any]], Engine]
OpenWindows = Callable[[Corpus, Cut, Sequence[str], int], WindowSource]  # as `BucketWindows` is made


class Goal(NamedTuple):
    """What a model is trained towards, beside its objective: what windows are cut from, and how it is judged.

    `data` names what is trained on, `metric` the one of `measure`'s that decides which weights are kept, those of its
    smallest value where `sign` is -1.
    """

    cut: Cut
    data: str
    metric: str
    measure: Callable[[], dict[str, float]]
    keep_best: Callable[[], None]
    sign: int = 1


def fit(
    recipe: Recipe,
    corpus: Corpus,
    run_uri: str,
    make_engine: EngineFactory,
    on_record: Sink,
    build_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    unshard: Unshard = nullcontext,
    ranks: Ranks = ALONE,
    open_windows: OpenWindows = BucketWindows,
) -> TrainState:
    """Train, resuming from the run's newest checkpoint, and export the best encoder to `<run>/encoder`.

    The `ranks` count together what the model is built from, before there is an engine.
    """
    split = resolve(recipe.split, corpus, recipe.stream.user_share)
    with build_context():
        model = build_model(recipe, corpus, split, ranks)
    if recipe.train.warm_start is not None:
        warm_start(model.encoder, recipe.train.warm_start, unshard)
    assert model.encoder.item_table is not None, "a table comes with every catalogue"
    model.encoder.item_table.release()  # it is wanted again where the encoder is written, on one rank
    engine = make_engine(model)
    goal = _pretraining(recipe, corpus, split, engine, run_uri)
    with tracked(recipe, run_uri, on_record, engine.rank == 0) as record:
        state = train(recipe, corpus, run_uri, engine, goal, record, open_windows)
    export(engine, run_uri)
    if engine.rank == 0 and _fits_map(recipe):
        fit_kept(run_uri, corpus, split)
    engine.barrier()
    return state


def train(
    recipe: Recipe,
    corpus: Corpus,
    run_uri: str,
    engine: Engine,
    goal: Goal,
    on_record: Sink,
    open_windows: OpenWindows = BucketWindows,
) -> TrainState:
    """Train an engine's model towards a goal, resuming from the run's newest checkpoint."""
    objective = engine.model.objective
    plan = make_plan(corpus, goal.cut, recipe.stream, objective.lookahead, recipe.seed, Together(engine))
    checkpoints = Checkpoints(run_uri, recipe.train.keep_checkpoints, goal.data)
    state = checkpoints.load_latest(engine) or TrainState()
    with _Records(run_uri, state.step, on_record if engine.rank == 0 else None) as records:
        in_rows = sum(table.size for table in row_tables(engine.model))
        more: Record = {"dropped_heads": list(objective.dropped_heads)} if objective.dropped_heads else {}
        more |= {"in_rows": in_rows} if in_rows else {}
        records({"kind": "model", "step": 0} | engine.model.encoder.parameters_by_kind() | more)
        domains = plan.domains.names if plan.domains is not None else ()
        tokens, told_of = plan.num_tokens / plan.num_batches, effort(recipe, engine, plan).told
        log = Log(objective.parts, objective.weights, tokens, records, domains, told_of)
        validate = Validate(goal.measure, goal.metric, goal.keep_best, log, records, goal.sign)
        callbacks = [log, Epochs(plan, records), validate, Save(checkpoints, log, records.flush)]
        loop = Loop(engine, recipe.train, plan.num_batches, state, callbacks)
        source = open_windows(corpus, goal.cut, _columns(engine.model), buckets_held(recipe.stream))
        loop.run(_steps(recipe, source, plan, engine, state.position), recipe.stream.prefetch)
    return state


def _pretraining(recipe: Recipe, corpus: Corpus, split: Split, engine: Engine, run_uri: str) -> Goal:
    """What the split trains on, judged by how it ranks the validation items, or by the loss where nothing learns to.

    With `train.select` vector it is judged by what the vector tells, of what is known before the validation items.
    """
    ranks = recipe.objective.ranks_items(recipe.encoder)
    side = {*engine.model.encoder.side_columns, *engine.model.objective.side_columns}
    refuse_unmeasured(corpus, split, recipe.split.rule, ("valid",))
    histories = read_histories(corpus, split, "valid", recipe.evaluation.max_users, sorted(side))
    by_vector = recipe.train.select == "vector"
    if by_vector:
        from ray_userrep.training import future  # a second of imports that nothing else of a training needs

        question = future.read_question(corpus, split, recipe.evaluation, sorted(side))

    def measure() -> dict[str, float]:
        found = ranking_metrics(engine, histories, recipe.evaluation)
        found |= {} if ranks else likelihood_metrics(engine, histories)
        return found | future.vector_metrics(engine, question, _fits_map(recipe)) if by_vector else found

    return Goal(
        cut=split,
        data=split.fingerprint(corpus.manifest, False),
        metric=VECTOR if by_vector else RANKING if ranks else LIKELIHOOD,
        measure=measure,
        keep_best=lambda: keep_best_of_ranks(engine, run_uri),
    )


def _fits_map(recipe: Recipe) -> bool:
    """Whether a bag's kept directions are found after training: a warm start keeps them, so that vectors compare."""
    return recipe.encoder.readout == "bag" and recipe.train.warm_start is None


def _steps(
    recipe: Recipe, source: WindowSource, plan: BatchPlan, engine: Engine, position: Position
) -> Iterator[Step[Micros]]:
    objective, rank = engine.model.objective, engine.rank
    read_ahead = reading_ahead(engine.model.encoder)

    def prepared(micros: list[Batch], here: Position) -> Micros:
        prepared = prepare_micros(objective, micros, draws_at(recipe.seed, here), rank)
        ready = read_ahead(prepared)
        return ready.pinned() if engine.device.type == "cuda" else ready

    return steps(plan, source, rank, engine.world, position, prepared)


def _columns(model: TrainModel[Any]) -> list[str]:
    """What encoder and objective read beside the items of a window."""
    times = [TIMESTAMPS] if model.encoder.reads_times or model.objective.reads_times else []
    return [*times, *sorted({*model.encoder.side_columns, *model.objective.side_columns})]


def build_model(recipe: Recipe, corpus: Corpus, split: Split, ranks: Ranks = ALONE) -> TrainModel:
    """Encoder and objective with the recipe's seed: the same weights on every rank."""
    torch.manual_seed(recipe.seed)
    items = _items(recipe, corpus)
    graph = _graph_of(recipe, corpus, split)
    encoder = build_encoder(recipe.encoder, items, recipe.stream.max_len, recipe.objective.hides_items(), graph)
    data = _objective_data(recipe, corpus, split, items, graph, ranks)
    return TrainModel(encoder, build_objective(recipe.objective, recipe.encoder, data), recipe.train)


def refuse_lacking(recipe: Recipe, corpus: Corpus, split: Split) -> None:
    """Check that the log has what encoder and objective read, before anything is started for them.

    Raises:
        UserError: it lacks something; the message names it.
    """
    refuse_missing(recipe.encoder.context, [TIMESTAMPS, *corpus.manifest.side_columns])
    refuse_profile(recipe.encoder.profile, corpus)
    items = _items(recipe, corpus)
    data = _objective_data(recipe, corpus, split, items, _graph_of(recipe, corpus, split), ALONE)
    with torch.device("meta"):  # no weights are drawn, nothing is counted
        build_objective(recipe.objective, recipe.encoder, data._replace(train_counts=items.counts))
    items.release()


def _items(recipe: Recipe, corpus: Corpus) -> ItemTable:
    """The item table with what the encoder's items are made from; it can be let go of and is read again."""
    read = lambda: items_with_content(corpus, recipe.encoder, recipe.text).table  # noqa: E731
    return ItemTable(read(), read)


def _graph_of(recipe: Recipe, corpus: Corpus, cut: Cut) -> UserItemGraph | None:
    """The graph of what is trained on, where the encoder's backbone reads one.

    Raises:
        UserError: no user or no item is warm.
    """
    backbone = recipe.encoder.backbone
    return read_graph(corpus, cut, backbone.warm_above) if isinstance(backbone, GNNConfig) else None


def _objective_data(
    recipe: Recipe, corpus: Corpus, split: Split, items: ItemTable, graph: UserItemGraph | None, ranks: Ranks
) -> ObjectiveData:
    # What few objectives ask for is imported where they do: with it comes scikit-learn, a second of each start.
    def labels(names: Sequence[str]) -> dict[str, KnownLabels]:
        from ray_userrep.training.labels import read_labels

        return read_labels(corpus, split, recipe.transfer.task, names)

    def society(config: SocialConfig) -> Society:
        from ray_userrep.training.society import read_society

        return read_society(config, recipe, corpus, split)

    def impressions(config: ImpressionsConfig) -> Impressions:
        return read_impressions(config, corpus)

    def oracle() -> Oracle:
        from ray_userrep.training.oracle import read_oracle

        assert graph is not None, "an objective that asks for it is refused without a graph"
        return read_oracle(recipe.encoder, corpus, split, graph)

    counts = cache(partial(train_counts, corpus, split, ranks))  # several parts may ask
    return ObjectiveData(items, corpus.manifest.side_columns, counts, labels, society, impressions, oracle)


def export(engine: Engine, run_uri: str, name: str = "encoder") -> None:
    """Write the best weights so far, gathered from all ranks, as `<run>/<name>`.

    Raises:
        UserError: they are not what was kept; on all ranks alike.
    """
    if not told(engine, lambda: has_best(run_uri)):
        keep_best_of_ranks(engine, run_uri)
    told(engine, lambda: _upload(engine.model.encoder, storage.join(run_uri, name), read_best(run_uri)))


def fit_kept(run_uri: str, corpus: Corpus, split: Split) -> None:
    """Fit the run's exported encoder to what it keeps of the training users.

    That is the principal directions of their bags, and how large their tempo's numbers are beside these.
    """
    encoder = load_encoder(run_uri)
    assert encoder.bag is not None, "an encoder that is read out at its bag has one"
    width, until, states = encoder.bag.width, 0, []
    moments = Moments(width)
    for number in corpus.buckets():
        users = split.learned(corpus.bucket(number), "valid")
        columns = {TIMESTAMPS: users.timestamps_N}
        sums_US = torch.from_numpy(history_sums(encoder, users.items_N, users.lengths_U, columns))
        sums_US = sums_US[users.lengths_U > 0]
        moments.add(scaled_bag(sums_US[:, : width + 1]).numpy())
        states.append(sums_US[:, width + 1 :])
        until = max(until, int(users.timestamps_N.max(initial=0)))
        if moments.num_users >= _FITTED_USERS:
            break
    encoder.bag.map.weight.data, deviation = moments.principal_map(encoder.bag.map.kept)
    if encoder.tempo is not None:
        encoder.tempo.fit(torch.cat(states), until, deviation)
    _upload(encoder, storage.join(run_uri, "encoder"))


def _upload(encoder: Trainable, uri: str, weights: dict[str, Tensor] | None = None) -> None:
    if storage.is_local(uri):  # there it need not be written twice
        return encoder.save_pretrained(storage.absolute(uri), state_dict=weights)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "encoder"
        encoder.save_pretrained(folder, state_dict=weights)
        storage.upload_dir(str(folder), uri)


def load_encoder(run_uri: str) -> UserEncoder:
    """The encoder that a run exported."""
    return UserEncoder.from_pretrained(storage.join(run_uri, "encoder"))


class _Records:
    """Everything that takes a run's records, as one sink; on ranks that keep none it does nothing."""

    def __init__(self, run_uri: str, resumed_step: int, on_record: Sink | None) -> None:
        self._run_uri = run_uri
        self._resumed_step = resumed_step
        self._on_record = on_record

    def __enter__(self) -> "_Records":
        if self._on_record is not None:
            self._file = MetricsFile(self._run_uri, self._resumed_step)
            self._board = TensorBoard(self._run_uri, self._resumed_step)
        return self

    def __call__(self, record: Record) -> None:
        if self._on_record is not None:
            self._file(record)
            self._board(record)
            self._on_record(record)

    def flush(self) -> None:
        if self._on_record is not None:
            self._file.flush()
            self._board.flush()

    def __exit__(self, *_: object) -> None:
        if self._on_record is not None:
            self._file.flush()
            self._board.close()
