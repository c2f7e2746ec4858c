"""The jobs from Python: each function is one workflow and returns the result that it stored.

Nothing heavy is imported until a function is called.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

Result = dict[str, Any]


def recipe(name: str = "online_retail", **fields: Any) -> Recipe:
    """A recipe by name, or from a run's `recipe.json` at any URI, with fields set.

    Fields are named as on the command line, `**{"train.epochs": 3}`, or nested, `train={"epochs": 3}`; `logs`, `corpus`
    and `reader` are short for `logs.uri`, `corpus.uri` and `logs.reader`.

    Raises:
        UserError: an unknown recipe or field, or a value that does not fit; the message names it and what it takes.
    """
    from ray_userrep.command import load

    return with_values(load(name), fields)


def prepare(recipe: Recipe) -> Result:
    """Prepare the recipe's log as a corpus; the result has its place, its version and its counts.

    Raises:
        UserError: the log cannot be read, or more of it is damaged than `logs.max_quarantined_share`.
    """
    from ray_userrep.workflows.prepare import run_prepare

    return run_prepare(recipe)


def prepare_tables(
    recipe: Recipe, log: Any, *, users: Any = None, items: Any = None, columns: Mapping[str, str] | None = None
) -> Result:
    """Prepare tables in memory, of pandas, polars or Arrow: interactions, a row each, and tables of users and items.

    `log` is one table, or a dictionary of a table for each event; `columns` is `logs.columns`. They are written as
    Parquet beside the corpus, `CORPUS-tables`, and the same tables are prepared once.

    Raises:
        UserError: one is no table; or as `prepare`.
    """
    from ray_userrep.workflows.tables import run_prepare_tables

    return run_prepare_tables(recipe, log, users, items, columns)


def pretrain(recipe: Recipe) -> Result:
    """Train an encoder and measure it beside tuned baselines; `result["run"]` is the folder with all that was made.

    Raises:
        UserError: the log, the run folder or a combination of fields does not do, or training diverged.
    """
    from ray_userrep.workflows.pretrain import run_pretrain

    return run_pretrain(recipe)


def evaluate(recipe: Recipe, encoder: str, output: str) -> Result:
    """Measure the encoder at a URI on the recipe's corpus; the result is stored in the folder `output`.

    Raises:
        UserError: the encoder knows none of the items, or the folder has a result.
    """
    from ray_userrep.workflows.evaluate import run_evaluate

    return run_evaluate(recipe, encoder, output)


def transfer(recipe: Recipe) -> Result:
    """Adapt an encoder to the recipe's tasks by its arms, and compare them with each other and with baselines.

    Raises:
        UserError: corpus, task, arms and encoder do not go together.
    """
    from ray_userrep.workflows.transfer import run_transfer

    return run_transfer(recipe)


def embed(recipe: Recipe, encoder: str, output: str) -> Result:
    """Write the vector of every user of the recipe's corpus as Parquet into the folder `output`.

    Raises:
        UserError: the encoder cannot be read, or reads what the corpus lacks.
    """
    from ray_userrep.workflows.embed import run_embed

    return run_embed(recipe, encoder, output)


def predict(recipe: Recipe, model: str, output: str) -> Result:
    """Write scores of the users of the recipe's corpus, by a model that `transfer` kept, into the folder `output`.

    Raises:
        UserError: there is no whole model, or it reads what the corpus lacks.
    """
    from ray_userrep.workflows.predict import run_predict

    return run_predict(recipe, model, output)


def recommend(recipe: Recipe, encoder: str, output: str, *, k: int = 20, exclude_seen: bool = True) -> Result:
    """Write the `k` likeliest next items of every user of the recipe's corpus as Parquet into the folder `output`.

    Raises:
        UserError: there are no `k` items, or as `embed`.
    """
    from ray_userrep.recipe.embedding import RecommendConfig
    from ray_userrep.workflows.recommend import run_recommend

    return run_recommend(recipe, RecommendConfig(k=k, exclude_seen=exclude_seen), encoder, output)


def index(vectors: str, output: str, *, of: Literal["users", "items"] = "users", recall: float = 0.95) -> Result:
    """Build an index of the vectors that `embed` wrote into a folder; `ur.VectorIndex.open(output)` answers from it.

    Raises:
        UserError: there are no such vectors, or faiss is missing.
    """
    from ray_userrep.recipe.embedding import IndexConfig
    from ray_userrep.workflows.index import run_index

    return run_index(vectors, IndexConfig(of=of, recall=recall), output)


def sweep(recipe: Recipe, grid: dict[str, list[Any]], seeds: tuple[int, ...] = (0, 1, 2)) -> Result:
    """Pretrain with every combination of values of fields, each with every seed; `result["table"]` compares them.

    Raises:
        UserError: the grid names what cannot be tried, or a run failed, after the others have ended.
    """
    from ray_userrep.recipe.sweep import SweepConfig
    from ray_userrep.workflows.sweep import run_sweep

    return run_sweep(recipe, SweepConfig(seeds=seeds, grid=grid))


def load_result(run: str) -> Result:
    """The stored result of a run, by its folder at any URI.

    Raises:
        UserError: it is no run, or has not ended.
    """
    from ray_userrep.report import results

    return results.load_result(run)


def runs(folder: str) -> "pd.DataFrame":
    """A row for each run below a folder: the recipe's fields in which they differ, and their metrics.

    Raises:
        UserError: there is no run.
    """
    from ray_userrep.workflows.runs import runs_table

    return runs_table(folder)


def compare(*runs: str) -> "pd.DataFrame":
    """A row for each system of the runs, or of those below a folder: NDCG@10, its paired difference to the first, p.

    Raises:
        UserError: a place holds no run with ranks, or runs were measured on other users or items.
    """
    from ray_userrep.workflows.compare import compare_table

    return compare_table(runs)
