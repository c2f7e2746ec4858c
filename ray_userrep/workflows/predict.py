"""Scores of the users of a corpus, by the model that a transfer kept: what `embed` does, with a head on each vector."""

from functools import partial

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus.store import Bucket
from ray_userrep.embedding.export import exported, summary_of, task_of
from ray_userrep.embedding.outputs import SCORED, refuse_occupied, refuse_of_vectors, whole_or_nothing
from ray_userrep.embedding.tables import vectors_table
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.logs.connection import connect
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
    config = as_actors_see(recipe.embedding)
    refuse_of_vectors(config)
    refuse_occupied(output_uri)
    connect()
    corpus = open_or_prepare(recipe)
    table_of, encoder_uri = partial(scores_table, model, config.batch_tokens), storage.join(model_uri, ENCODER)
    task = task_of(encoder_uri, corpus, output_uri, config, recipe.text, recipe.train.use_gpu, table_of)
    summary = summary_of(task) | {"model": model_uri, "classes": model.classes}
    with whole_or_nothing(output_uri):
        summary |= exported(task, corpus)
        storage.write_json(storage.join(output_uri, SCORED), summary)
    print(f"scores    {summary['rows']:,} of {summary['users']:,} users")
    print(f"output    {output_uri}")
    return {"job": "predict", "output": output_uri} | summary


def scores_table(
    model: LabelModel, batch_tokens: int, encoder: UserEncoder, bucket: Bucket, until: int | None
) -> pa.Table:
    """The score of a bucket's users as of a moment (us), of how many interactions it is made, and the newest."""
    vectors = vectors_table(encoder, bucket, until, batch_tokens, "float32")
    column = vectors["vector"].combine_chunks()
    vectors_UF = np.array(column.flatten()).reshape(len(column), model.head.num_inputs)
    return vectors.set_column(1, "score", model.column(model.scores(vectors_UF)))
