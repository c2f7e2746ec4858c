"""Compacting a corpus that was appended to."""

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.prepare.compact import compact
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result


def run_compact(recipe: Recipe) -> Result:
    """Compact the recipe's corpus and say which version it is then.

    Raises:
        UserError: no corpus is named, or there is none.
    """
    if recipe.corpus.uri is None:
        raise UserError("which corpus? name it with --corpus")
    connect()
    uri = storage.absolute(recipe.corpus.uri)
    refuse_unshared(uri)
    version = compact(uri).version
    print(f"corpus    {uri} (version {version})")
    return {"job": "compact", "corpus": uri, "version": version}
