"""User vectors of a whole corpus, as Parquet at any URI."""

from ray_userrep import storage
from ray_userrep.embedding.export import export_vectors
from ray_userrep.embedding.submission import write_submission
from ray_userrep.encoder.folder import own_folder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result
from ray_userrep.workflows.prepare import open_or_prepare


def run_embed(recipe: Recipe, encoder_uri: str, output_uri: str) -> Result:
    """Encode users of the recipe's corpus and say where the vectors are; the encoder may be named by its run."""
    encoder_uri = own_folder(storage.absolute(encoder_uri))
    UserEncoder.from_pretrained(encoder_uri)  # a folder that holds none is told of before anything is started
    connect()
    corpus = open_or_prepare(recipe)
    config = as_actors_see(recipe.embedding)
    output_uri = storage.kept(output_uri)
    where = encoder_uri, corpus, output_uri
    summary = export_vectors(*where, config, recipe.text, recipe.train.use_gpu)
    print(f"vectors   {summary['rows']:,} of {summary['users']:,} users, width {summary['width']}")
    if config.previous is not None:
        print(f"read anew {summary['read_anew']:,} users, of whom interactions came late")
    if config.challenge is not None:
        print("challenge {} vectors of {} numbers".format(*write_submission(output_uri, config.challenge)))
    print(f"output    {output_uri}")
    return {"job": "embed", "encoder": encoder_uri, "output": output_uri} | summary


def as_actors_see(config: EmbeddingConfig) -> EmbeddingConfig:
    """The config with absolute places: actors have working directories of their own."""
    places = {name: getattr(config, name) for name in ("previous", "users") if getattr(config, name) is not None}
    return config.model_copy(update={name: storage.absolute(place) for name, place in places.items()})
