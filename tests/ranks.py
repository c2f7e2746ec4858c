"""Fits on several ranks without Ray: processes forked from one preloaded server, joined by gloo.

Importing torch and DeepSpeed takes a process seconds; the server imports them once a session, so that a group of ranks
costs little more than its steps. `TorchTrainer` is tested where it is the point: tests/distributed/test_zero.py.
"""

import multiprocessing
import os
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.ranks import Together
from ray_userrep.training.runs import read_records

# What ranks would import by themselves, stage 3 most of all.
PRELOADED = [
    "ray_userrep.distributed.zero",
    "ray_userrep.training.fit",
    "torch._inductor.compile_fx",
    "deepspeed.ops.op_builder.all_ops",
    "deepspeed.runtime.superoffload.superoffload_stage3",
]


def fit_bare(recipe: Recipe, corpus: Corpus, run_uri: Path | str, is_frozen: bool = False) -> None:
    """The bare loop in this process: what every group of ranks is compared with."""
    fit(
        recipe,
        corpus,
        str(run_uri),
        lambda m: BareEngine(freeze(m, is_frozen), recipe.train, torch.device("cpu")),
        _drop,
    )


def fit_on_ranks(
    num_ranks: int, recipe: Recipe, corpus: Corpus, run_uri: Path | str, is_frozen: bool = False
) -> list[tuple[int, str]]:
    """Fits with DeepSpeed on so many ranks; returns the refusals and tracebacks by rank."""
    meeting = Path(str(run_uri)).parent / f"meeting-{uuid.uuid4().hex}"
    meeting.parent.mkdir(parents=True, exist_ok=True)
    return on_ranks(num_ranks, fit_rank, meeting, recipe.model_dump_json(), corpus.uri, str(run_uri), is_frozen)


def on_ranks(num_ranks: int, main: Callable[..., None], meeting: Path, *given: Any) -> list[tuple[int, str]]:
    """Runs `main(*given)` on so many ranks of one group; returns the refusals and tracebacks by rank."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    errors = context.Queue()
    ranks = [
        context.Process(target=_rank, args=(rank, num_ranks, meeting, errors, main, given)) for rank in range(num_ranks)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [errors.get() for _ in range(num_ranks)] if not errors.empty() else []


def losses(run_uri: Path | str) -> list[float]:
    """The training loss of every step."""
    return [loss for r in read_records(str(run_uri)) if r["kind"] == "train" for loss in r["losses"]]


def freeze(model: Any, is_frozen: bool) -> Any:
    """The model, with its item table held fixed where asked."""
    if is_frozen:
        model.encoder.items.requires_grad_(False)
    return model


def _rank(rank: int, num_ranks: int, meeting: Path, errors: Any, main: Callable[..., None], given: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_ranks)}
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=num_ranks)
    try:
        main(*given)
    except UserError as error:
        errors.put((rank, str(error)))
    except BaseException:
        errors.put((rank, traceback.format_exc()))
        raise
    dist.destroy_process_group()


def fit_rank(recipe_json: str, corpus_uri: str, run_uri: str, is_frozen: bool) -> None:
    """A rank's part of a fit."""
    from ray_userrep.distributed import zero

    zero.quiet()
    recipe = Recipe.model_validate_json(recipe_json)
    fit(
        recipe,
        open_corpus(corpus_uri),
        run_uri,
        make_engine=lambda m: zero.ZeroEngine(freeze(m, is_frozen), recipe.train, torch.device("cpu")),
        on_record=_drop,
        build_context=lambda: zero.partitioned_init(recipe.train),
        unshard=zero.unsharded,
        ranks=Together(zero.ZeroGroup(torch.device("cpu"))),
    )


def _drop(record: Any) -> None:
    """Records are read from the run folder."""
