"""What the frozen layers of a text or image model make of each item, beside a corpus: where it is, and the item table.

Layers that do not train give the same states for an item in every step of every run, so that they are run once. States
are half floats, and take a hundred times the place of a text and about that of a picture. Like text vectors they are
named by the content and by what made them, not by the corpus version.

Shapes: V items.
"""

import hashlib
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.items import IMAGE_STATES, TEXT_STATES, ItemTable
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.text import has_vectors, items_with_text, read_vectors
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.encoder import EncoderConfig, ImageItemsConfig, LanguageItemsConfig

STATES = pa.large_list(pa.float16())  # what frozen layers make of one item
_SHOWN = 3  # items


class Wanted(NamedTuple):
    """Frozen layers to be run: whose they are, on what, where the states are kept and as which column."""

    config: LanguageItemsConfig | ImageItemsConfig
    content_V: pa.Array  # texts or pictures, null where an item has none
    uri: str
    column: str


def wanted_states(corpus: Corpus, items: ItemTable, encoder: EncoderConfig) -> list[Wanted]:
    """The frozen layers that an encoder's items need, of the kinds of content that the log has at all."""
    found = []
    for part in encoder.content_parts():
        content_V = _content(items, part)
        if content_V is not None and part.has_frozen_layers():
            column = TEXT_STATES if isinstance(part, LanguageItemsConfig) else IMAGE_STATES
            found.append(Wanted(part, content_V, _uri(corpus, content_V, part), column))
    return found


def items_with_content(corpus: Corpus, encoder: EncoderConfig, text: TextConfig) -> ItemTable:
    """The item table with what an encoder's items are made from as columns: text vectors, states of frozen layers.

    Raises:
        UserError: the log lacks it, or it was not made yet.
    """
    items = items_with_text(corpus, text) if encoder.needs_text() else corpus.items()
    for wanted in wanted_states(corpus, items, encoder):
        if not has_vectors(wanted.uri):
            raise UserError(
                f"texts or pictures of {corpus.uri} have not been through the frozen layers yet: run jobs/prepare.py "
                "with this recipe"
            )
        items = ItemTable(items.table.append_column(wanted.column, read_vectors(wanted.uri)))
    return items


def tell_bare(items: ItemTable, encoder: EncoderConfig) -> None:
    """Say how many items have nothing that their vectors could be made from; they share one.

    Raises:
        UserError: no item has anything.
    """
    kinds = {"text" if isinstance(part, LanguageItemsConfig) else "picture" for part in encoder.content_parts()}
    if not kinds:
        return
    bare = pa.array([True] * len(items))
    for part in encoder.content_parts():
        content_V = _content(items, part)
        bare = bare if content_V is None else pc.and_(bare, pc.is_null(content_V))
    found = items.ids.filter(bare)
    named = " and no ".join(sorted(kinds))
    if len(found) == len(items):
        raise UserError(
            f"all {len(items):,} items have no {named}, which encoder.items.kind {encoder.items.kind} makes vectors "
            "of: name a column text in the table of items, and pictures in logs.images or a column image"
        )
    if len(found):
        ids = ", ".join(map(str, found[:_SHOWN].to_pylist()))
        print(
            f"note      {len(found):,} of {len(items):,} items have no {named}, as {ids}: they share a vector",
            flush=True,
        )


def _content(items: ItemTable, part: LanguageItemsConfig | ImageItemsConfig) -> pa.Array | None:
    """Texts or pictures, null where there is nothing; None where the log has no such column."""
    if isinstance(part, ImageItemsConfig):
        return items.images()
    texts = items.texts()
    if texts is None:
        return None
    return pa.array([text if text and text.strip() else None for text in texts], pa.string())


def _uri(corpus: Corpus, content_V: pa.Array, part: LanguageItemsConfig | ImageItemsConfig) -> str:
    digest = hashlib.sha256(part.model_dump_json(exclude={"cached"}).encode())
    for one in content_V.cast(pa.large_binary()).to_pylist():
        digest.update(b"\0" if one is None else len(one).to_bytes(8) + one)
    return storage.join(corpus.uri, "states", digest.hexdigest()[:16])
