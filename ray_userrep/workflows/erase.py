"""Forgetting users: a corpus version without them, no older one, and no rows of theirs in folders of vectors.

What a job wrote of the corpus for people to read, its result and its page, is made anew: it shows rejected rows.
"""

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.corpus.vacuum import vacuum
from ray_userrep.embedding.erase import erase_vectors, refuse_no_vectors
from ray_userrep.embedding.tables import read_users
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.prepare.erase import erase
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.upkeep import EraseConfig, VacuumConfig
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.workflows.prepare import described
from ray_userrep.workflows.vacuum import told


def run_erase(uri: str, users: str, config: EraseConfig) -> Result:
    """Erase the users whose ids are in a file, and say where they were; returns the counts.

    Raises:
        UserError: there is no corpus, no such file, no folder of vectors, or nobody would be left.
    """
    uri = storage.absolute(uri)
    corpus = open_corpus(uri)
    for folder in config.vectors:
        refuse_no_vectors(folder, "--vectors")
    has_page = storage.exists(storage.join(uri, RESULT))
    recipe = Recipe.model_validate(load_result(uri)["recipe"]) if has_page else None
    ids = read_users(users, corpus, "--users")
    connect()
    refuse_unshared(uri)
    manifest = erase(corpus, ids)
    num_erased = corpus.manifest.num_users - manifest.num_users
    print(f"erase     {num_erased:,} of {len(ids):,} users; {len(ids) - num_erased:,} are not in the corpus")
    waste = vacuum(uri, VacuumConfig())
    print(told(waste, dry_run=False))
    if waste.left:
        print(
            "          what is left may hold the users' rows; when no job writes there: "
            f"ray-userrep vacuum {uri} --hours 0"
        )
    if recipe is not None:
        described(recipe, open_corpus(uri))
    rows = {folder: erase_vectors(folder, ids) for folder in config.vectors}
    print("".join(f"vectors   {folder}: {count:,} users\n" for folder, count in rows.items()), end="")
    print(f"corpus    {uri} (version {manifest.version})")
    return {"job": "erase", "corpus": uri, "version": manifest.version, "erased": num_erased, "vectors": rows}
