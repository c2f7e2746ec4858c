"""Fine-tuning a text encoder on one domain as UniSRec does: what trains, and a table of ids beside the texts.

Inductive fine-tuning trains the item embedder and the norms, and knows new items; with a table of ids (transductive) it
remembers each item of this catalogue, and new ones have their texts only. The backbone's maps and positions stay frozen
in both.
"""

import torch

from ray_userrep.encoder.config import EncoderConfig, IdItemsConfig, SumItemsConfig
from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig
from ray_userrep.errors import UserError

_INNER = "items.inner."


def fine_tuned(name: str) -> bool:
    """Whether a parameter of a `UserEncoder` trains: those of the item embedder, the id table among them, and norms.

    As in UniSRec (Hou et al., KDD 2022).
    """
    return name.startswith("items.") or "norm" in name


def with_ids(encoder: UserEncoder) -> UserEncoder:
    """A copy with a trained vector for each item added to its text; they start at zero and change no score at first.

    Raises:
        UserError: items are not scaled to length one, so that the sum would change scores, or hold ids already.
    """
    config = EncoderConfig.model_validate(encoder.config.encoder)
    if not config.unit_items or {"id", "rows"} & config.part_kinds() or isinstance(config.items, SumItemsConfig):
        raise UserError("a table of ids is added to one embedder of texts whose encoder.unit_items is true")
    items = SumItemsConfig.model_validate({"parts": [config.items.model_dump(), IdItemsConfig().model_dump()]})
    grown = config.model_copy(update={"items": items}).model_dump(mode="json")
    other = UserEncoder(UserEncoderConfig(**(encoder.config.to_dict() | {"encoder": grown})))
    weights = {name.replace(_INNER, f"{_INNER}parts.0."): value for name, value in encoder.state_dict().items()}
    ids = f"{_INNER}parts.1.weight"
    other.load_state_dict(weights | {ids: torch.zeros_like(other.state_dict()[ids])})
    if encoder.item_table is not None:
        other.item_table = encoder.item_table
    return other.to(encoder.device).train(encoder.training)  # type: ignore[arg-type]
