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
    summary = export_vectors(storage.absolute(encoder_uri), corpus, storage.absolute(output_uri), recipe.embedding)
    print(f"vectors   {summary['users']:,} users, width {summary['width']}")
    print(f"output    {storage.absolute(output_uri)}")
    return {"job": "embed", "encoder": encoder_uri, "output": storage.absolute(output_uri)} | summary
