"""Scores of the users of a corpus, by the model that a transfer kept: what `embed` does, with a head on each vector."""

from functools import partial

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.distributed.connection import connect
from ray_userrep.embedding.export import export_vectors
from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result
from ray_userrep.transfer.model import ENCODER, LabelModel, load_model
from ray_userrep.workflows.embed import as_actors_see
from ray_userrep.workflows.prepare import open_or_prepare


def run_predict(recipe: Recipe, model_uri: str, output_uri: str) -> Result:
    """Score users of the recipe's corpus and say where the scores are; whose and as of when is as for `embed`.

    Raises:
        UserError: there is no whole model, the output folder holds something, or vectors are asked for.
    """
    model_uri, output_uri = storage.absolute(model_uri), storage.kept(output_uri)
    model = load_model(model_uri)
    if recipe.embedding.keeps_sums or recipe.embedding.items:
        raise UserError("embedding.sums, embedding.previous and embedding.items are of vectors: predict writes scores")
    connect()
    corpus = open_or_prepare(recipe)
    config = as_actors_see(recipe.embedding).model_copy(update={"dtype": "float32"})
    where = storage.join(model_uri, ENCODER), corpus, output_uri
    summary = export_vectors(*where, config, recipe.text, recipe.train.use_gpu, partial(scored, model))
    print(f"scores    {summary['rows']:,} of {summary['users']:,} users")
    print(f"output    {output_uri}")
    return {"job": "predict", "model": model_uri, "output": output_uri, "classes": model.classes} | summary


def scored(model: LabelModel, vectors: pa.Table) -> pa.Table:
    """Rows with a score in place of the vector."""
    column = vectors["vector"].combine_chunks()
    vectors_UF = np.array(column.flatten()).reshape(len(column), model.head.num_inputs)
    scores = model.column(model.scores(vectors_UF))
    return vectors.set_column(vectors.column_names.index("vector"), "score", scores)
