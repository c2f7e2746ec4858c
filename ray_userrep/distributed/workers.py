"""The same fit on a cluster: Ray Train starts the workers, DeepSpeed drives the module on each.

Checkpoints, records and the encoder go to the run folder from the workers themselves, so that a restarted worker
group, a resumed run and the bare loop all find them in one place; Ray carries only progress back to the caller.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.queue import Queue

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.entry import EndAtRefusal, work
from ray_userrep.distributed.gauges import TrainingGauges
from ray_userrep.distributed.notes import say_first
from ray_userrep.distributed.places import num_threads, uses_gpu
from ray_userrep.distributed.readers import BucketReaders, bucket_readers
from ray_userrep.errors import DivergedError, UserError
from ray_userrep.feed.stream import buckets_held
from ray_userrep.logs.connection import here, refuse_unshared
from ray_userrep.prepare.devices import HIDDEN
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.callbacks import Sink, tell_all

# Modules that are built whole and partitioned at once leave holes in the heap; above this size glibc gives freed memory
# straight back. It slows small steps, so only workers of models that are built partitioned are started with it.
INIT_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
_ERRORS: dict[str, type[UserError]] = {"UserError": UserError, "DivergedError": DivergedError}


def fit_distributed(recipe: Recipe, corpus: Corpus, run_uri: str, on_record: Sink) -> None:
    """Train on the recipe's workers; returns when the encoder is in the run folder.

    Raises:
        UserError: the run cannot be shared by the cluster's nodes, or training was refused or diverged.
    """
    refuse_unshared(run_uri, "run", "--run")
    use_gpu = uses_gpu(recipe.train)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here()})
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "recipe": recipe.model_dump_json(),
            "corpus": (corpus.uri, corpus.manifest.version),
            "readers": _readers(recipe, corpus),
            "run": run_uri,
            "queue": queue,
            "threads": num_threads(recipe.train),
        },
        scaling_config=ScalingConfig(
            num_workers=_num_workers(recipe),
            use_gpu=use_gpu,
            resources_per_worker={"CPU": num_threads(recipe.train)} | ({"GPU": 1} if use_gpu else {}),
        ),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        run_config=_run_config(recipe, run_uri, {} if use_gpu else HIDDEN),
    )
    say_first(recipe, corpus, use_gpu)
    with records_shown(queue, {"the console": on_record, "Ray's metrics": TrainingGauges(run_uri)}) as refused:
        failure = _failure_of(trainer)
    if refused:
        raise refused[0]
    if failure is not None:
        raise failure


def _failure_of(trainer: TorchTrainer) -> TrainingFailedError | None:
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return error
    except SystemExit as stop:  # how Ray Train ends its driver when it is interrupted
        raise KeyboardInterrupt from stop
    return None


def _readers(recipe: Recipe, corpus: Corpus) -> BucketReaders | None:
    """What workers share their reading through; a group more than each holds, as some are ahead of others."""
    if recipe.train.num_workers == 1:
        return None
    split = resolve(recipe.split, corpus, recipe.stream.user_share)
    return bucket_readers(corpus, split, buckets_held(recipe.stream) + recipe.stream.shuffle_buckets)


@contextmanager
def records_shown(queue: Queue, sinks: dict[str, Sink]) -> Iterator[list[UserError]]:
    """Hand the workers' records to the sinks, by name, as they come; refusals are collected."""
    refused, listening = list[UserError](), dict(sinks)

    def drain() -> None:
        while (record := queue.get()) is not None:
            if record["kind"] == "error":
                refused.append(_ERRORS[record["type"]](record["message"]))
            else:
                tell_all(listening, record)

    thread = threading.Thread(target=drain, daemon=True, name="records")
    thread.start()
    try:
        yield refused
    finally:
        queue.put(None)
        thread.join()
        queue.shutdown()


def _run_config(recipe: Recipe, run_uri: str, environment: dict[str, str]) -> RunConfig:
    filesystem, path = storage.open_fs(storage.join(run_uri, "ray"))
    return RunConfig(
        name="train",
        storage_path=path,
        storage_filesystem=filesystem,
        callbacks=[EndAtRefusal()],
        failure_config=FailureConfig(max_failures=recipe.train.max_failures),
        worker_runtime_env={"env_vars": environment | (INIT_ENVIRONMENT if recipe.train.zero.init else {})},
    )


def _num_workers(recipe: Recipe) -> int | tuple[int, int]:
    most, fewest = recipe.train.num_workers, recipe.train.min_workers
    return most if fewest is None or fewest == most else (fewest, most)
