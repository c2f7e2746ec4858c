"""The folder that an export writes: empty before, and whole or gone after; its summary is written last.

Readers of a folder of Parquet pass over names that begin with a low line.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import EmbeddingConfig

SUMMARY, ITEMS, RECOMMENDED, SCORED = "_vectors.json", "_items.parquet", "_recommended.json", "_scores.json"


def refuse_occupied(output_uri: str) -> None:
    """Refuse a folder that holds something.

    Raises:
        UserError: it does.
    """
    if storage.exists(output_uri) and storage.list_files(output_uri, hidden=True):
        raise UserError(f"output folder {output_uri} is not empty: name another with --output")


def refuse_of_vectors(config: EmbeddingConfig) -> None:
    """Refuse what only vectors have, where something else is made of them.

    Raises:
        UserError: the config asks for it.
    """
    if config.keeps_sums or config.items or config.challenge is not None:
        raise UserError(
            "embedding.sums, embedding.previous, embedding.items and embedding.challenge are of vectors: embed writes "
            "them"
        )


@contextmanager
def whole_or_nothing(output_uri: str) -> Iterator[None]:
    """Leave no folder behind that looks like an output and is a part of one."""
    try:
        yield
    except BaseException:
        storage.delete(output_uri)
        raise
