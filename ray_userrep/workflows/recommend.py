"""The likeliest next items of a whole corpus's users, as Parquet at any URI."""

from ray_userrep import storage
from ray_userrep.embedding.recommend import export_next_items, share_of_repeats
from ray_userrep.encoder.folder import own_folder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.repeats import MANY
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.embedding import EmbeddingConfig, RecommendConfig
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result
from ray_userrep.workflows.prepare import open_or_prepare


def run_recommend(recipe: Recipe, asked: RecommendConfig, encoder_uri: str, output_uri: str) -> Result:
    """Rank all items for users of the recipe's corpus and say where the lists are."""
    encoder_uri = own_folder(storage.absolute(encoder_uri))
    UserEncoder.from_pretrained(encoder_uri)  # a folder that holds none is told of before anything is started
    config = narrowed(recipe, asked)
    if config.users is not None:  # actors have working directories of their own
        config = config.model_copy(update={"users": storage.absolute(config.users)})
    connect()
    corpus = open_or_prepare(recipe)
    output_uri = storage.kept(output_uri)
    where = encoder_uri, corpus, output_uri
    summary = export_next_items(*where, config, asked, recipe.text, recipe.train.use_gpu)
    print(f"lists     {summary['rows']:,} of {summary['users']:,} users, at most {summary['k']} items each")
    repeats = share_of_repeats(corpus.bucket(corpus.buckets()[0]))  # a bucket is a random sample of users
    if asked.exclude_seen and repeats >= MANY:
        print(f"repeats   {repeats:.0%} of newest items were repeats, which the lists leave out: --exclude_seen false")
    print(f"output    {output_uri}")
    return {"job": "recommend", "encoder": encoder_uri, "output": output_uri} | summary


def narrowed(recipe: Recipe, asked: RecommendConfig) -> EmbeddingConfig:
    """The recipe's export with users and day as they are asked for.

    Raises:
        UserError: they do not go with another field of it.
    """
    named = {"embedding.users": asked.users, "embedding.until": asked.until}
    return with_values(recipe, {name: value for name, value in named.items() if value is not None}).embedding
