"""Item text vectors beside a corpus: where they are, and the item table with them.

They are named by the texts and by what encodes them, not by the corpus version: a corpus gets them whenever a recipe
first asks, and a version with the same texts finds them there.

Shapes: V items, E width of text vectors.
"""

import hashlib
import json

import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus.config import TextConfig
from ray_userrep.corpus.items import TEXT_VECTOR, ItemTable
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError


def vectors_uri(corpus: Corpus, texts: pa.ChunkedArray, config: TextConfig) -> str:
    """Where the vectors of these texts are kept."""
    digest = hashlib.sha256(json.dumps(config.model_dump(exclude={"batch_size"}), sort_keys=True).encode())
    digest.update(json.dumps(texts.to_pylist()).encode())
    return storage.join(corpus.uri, "text", digest.hexdigest()[:16], "vectors.parquet")


def texts_of(table: ItemTable) -> pa.ChunkedArray:
    """The texts of the items.

    Raises:
        UserError: the log has none.
    """
    if "text" not in table.table.column_names:
        raise UserError(
            "the items of this log have no text: encoder.items kinds text, whitened_moe and id with start text need one"
        )
    return table.table.column("text")


def items_with_text(corpus: Corpus, config: TextConfig) -> ItemTable:
    """The item table with its text vectors as a column.

    Raises:
        UserError: the log has no texts, or they have not been encoded.
    """
    table = corpus.items()
    uri = vectors_uri(corpus, texts_of(table), config)
    if not storage.exists(uri):
        raise UserError(f"the texts of {corpus.uri} have not been encoded yet: run jobs/prepare.py with this recipe")
    vectors = storage.read_parquet(uri).column(TEXT_VECTOR)
    assert len(vectors) == len(table), "text vectors are aligned with the items"
    return ItemTable(table.table.append_column(TEXT_VECTOR, vectors))
