"""User vectors of a whole corpus, as Parquet at any URI."""

from ray_userrep import storage
from ray_userrep.distributed.connection import connect
from ray_userrep.embedding.export import export_vectors
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result
from ray_userrep.workflows.prepare import open_or_prepare


def run_embed(recipe: Recipe, encoder_uri: str, output_uri: str) -> Result:
    """Encode every user of the recipe's corpus and say where the vectors are."""
    connect()
    corpus = open_or_prepare(recipe)
    config = recipe.embedding
    if config.previous is not None:  # actors have working directories of their own
        config = config.model_copy(update={"previous": storage.absolute(config.previous)})
    output_uri = storage.kept(output_uri)
    where = storage.absolute(encoder_uri), corpus, output_uri
    summary = export_vectors(*where, config, recipe.text, recipe.train.use_gpu)
    print(f"vectors   {summary['users']:,} users, width {summary['width']}")
    if config.previous is not None:
        print(f"read anew {summary['users_read_anew']:,} users, of whom interactions came late")
    print(f"output    {output_uri}")
    return {"job": "embed", "encoder": encoder_uri, "output": output_uri} | summary
