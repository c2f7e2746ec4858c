"""From an item embedder's config to the embedder."""

from typing import assert_never

import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items import image, language
from ray_userrep.encoder.items.base import ItemEmbedder, SumItems
from ray_userrep.encoder.items.content import ContentItems, Tower
from ray_userrep.encoder.items.features import FeatureItems
from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.items.tables import HashedItems, IdItems, ProjectedItems, SideItems, start_from_text
from ray_userrep.encoder.items.text import TextItems, WhitenedMoEItems, WordItems
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import (
    ByModalityItemsConfig,
    FeatureItemsConfig,
    HashedItemsConfig,
    IdItemsConfig,
    ImageItemsConfig,
    ItemsConfig,
    LanguageItemsConfig,
    ProjectedItemsConfig,
    RowItemsConfig,
    SideItemsConfig,
    SumItemsConfig,
    TextItemsConfig,
    WhitenedMoEItemsConfig,
    WordItemsConfig,
)


def build_items(
    config: ItemsConfig, num_items: int, width: int, text_width: int, table: ItemTable | None
) -> ItemEmbedder:
    """The embedder with its first weights, which may come from a table's texts or numbers; it is attached to none yet.

    Raises:
        UserError: there are no text vectors or numbers to start from.
    """
    match config:
        case SumItemsConfig(parts=parts):
            return SumItems([build_items(part, num_items, width, text_width, table) for part in parts])
        case TextItemsConfig(hidden=hidden):
            return TextItems(text_width, width, hidden)
        case WhitenedMoEItemsConfig(num_experts=num_experts, dropout=dropout):
            return WhitenedMoEItems(text_width, width, num_experts, dropout)
        case WordItemsConfig():
            return WordItems(config, width)
        case HashedItemsConfig(num_rows=num_rows, num_hashes=num_hashes):
            return HashedItems(num_rows, num_hashes, width)
        case ProjectedItemsConfig(table_width=table_width):
            return ProjectedItems(num_items, table_width, width)
        case RowItemsConfig():
            return RowItems(num_items, width)
        case IdItemsConfig(start=start):
            return IdItems(num_items, width, _start(table, width) if start == "text" else None)
        case SideItemsConfig(num_rows=num_rows):
            return SideItems(num_rows, width)
        case FeatureItemsConfig():
            return FeatureItems(config, width, table)
        case ByModalityItemsConfig(parts=parts):
            return ContentItems({part.kind: _tower(part, width, table) for part in parts}, width)
        case LanguageItemsConfig() | ImageItemsConfig():
            return ContentItems({config.kind: _tower(config, width, table)}, width)
        case never:
            assert_never(never)


def _tower(config: LanguageItemsConfig | ImageItemsConfig, width: int, table: ItemTable | None) -> Tower:
    """The encoder of one kind of content; its pretrained weights are read only where no trained ones will be."""
    match config:
        case LanguageItemsConfig():
            start = language.pretrained_weights(config) if table is not None and config.trained_layers else None
            return language.LanguageTower(config, width, start)
        case ImageItemsConfig(network="cnn"):
            return image.PixelTower(config, width)
        case ImageItemsConfig():
            start = image.pretrained_weights() if table is not None and config.trained_blocks else None
            return image.EfficientNetTower(config, width, start)
        case never:
            assert_never(never)


def _start(table: ItemTable | None, width: int) -> torch.Tensor | None:
    """First rows from texts; None where trained weights are about to be loaded over them."""
    if table is None:
        return None
    vectors = table.text_vectors()
    if vectors is None:
        raise UserError("encoder.items.start text needs text vectors: the item table has none")
    return start_from_text(torch.from_numpy(vectors.copy()), width)
