"""UniSRec's two ways to fine-tune an encoder of texts on one domain (Hou et al., KDD 2022).

Both train the item embedder and the norms, and keep the backbone's maps and positions. The inductive one knows new
items; the transductive one adds a vector of its own to each item of this catalogue, which new ones do not have.
"""

import torch

from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig, IdItemsConfig, SumItemsConfig
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.arms.plain import Scratch

_INNER = "items.inner."


class Inductive(Arm):
    """The item embedder and the norms train."""

    name = "unisrec_inductive"

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        return copied(encoder)

    def trainable(self, name: str) -> bool:
        return name.startswith("items.") or "norm" in name


class Transductive(Inductive):
    """The same with a vector for each item added to its text."""

    name = "unisrec_transductive"

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy whose vectors of items start at zero and change no score at first.

        Raises:
            UserError: items are not scaled to length one, so that the sum would change scores, or hold ids already.
        """
        return with_ids(encoder)


class TransductiveScratch(Transductive):
    """The transductive form from first weights, all of it training: how much of its gain is the ids' alone."""

    name = "unisrec_zero"

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        return with_ids(Scratch().apply(encoder))

    def trainable(self, name: str) -> bool:
        return True


def with_ids(encoder: UserEncoder) -> UserEncoder:
    """A copy with a trained vector for each item added to its text, zero at first.

    Raises:
        UserError: items are not scaled to length one, or hold ids already.
    """
    config = EncoderConfig.model_validate(encoder.config.encoder)
    if not config.unit_items or {"id", "rows"} & config.part_kinds() or isinstance(config.items, SumItemsConfig):
        raise UserError(
            "transfer.arms unisrec_transductive adds ids to one embedder of texts whose encoder.unit_items is true"
        )
    items = SumItemsConfig.model_validate({"parts": [config.items.model_dump(), IdItemsConfig().model_dump()]})
    grown = config.model_copy(update={"items": items}).model_dump(mode="json")
    other = UserEncoder(UserEncoderConfig(**(encoder.config.to_dict() | {"encoder": grown})))
    weights = {name.replace(_INNER, f"{_INNER}parts.0."): value for name, value in encoder.state_dict().items()}
    ids = f"{_INNER}parts.1.weight"
    other.load_state_dict(weights | {ids: torch.zeros_like(other.state_dict()[ids])})
    if encoder.item_table is not None:
        other.item_table, other.graph = encoder.item_table, encoder.graph
    return other.to(encoder.device).train(encoder.training)  # type: ignore[arg-type]
