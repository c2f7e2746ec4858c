"""First weights from an encoder that was trained before, over a catalogue that may have grown since.

Items are matched by their ids: those that the trained encoder knows take its rows, new ones keep the rows they were
drawn. Everything else must be there with the same shape; the objective and the optimiser start afresh.

Shapes: V items, S of them held by a rank.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ray_userrep import storage
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.items.exchange import ALONE
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.training.rows import held_rows
from ray_userrep.training.runs import differences

Unshard = Callable[[Tensor], AbstractContextManager[object]]
_NO_WEIGHTS = ("dropout", "start")  # what may differ: it decides no shape and no meaning of a weight


def warm_start(encoder: UserEncoder, uri: str, unshard: Unshard) -> None:
    """Copy the weights of the encoder at a run's or its own folder; `unshard` makes a partitioned tensor writable.

    Raises:
        UserError: there is no encoder, its architecture is another one, or its item ids are of another type.
    """
    trained = UserEncoder.from_pretrained(encoder_uri(uri))
    assert encoder.item_table is not None and trained.item_table is not None, "a table comes with every catalogue"
    source = trained.state_dict()
    rows = _per_item(encoder)
    target = encoder.state_dict(keep_vars=True)
    _refuse_other(encoder, trained, {name: value for name, value in target.items() if name not in rows}, uri)
    index_V = torch.from_numpy(trained.item_table.index_of(encoder.item_table.ids))
    held = held_rows(encoder)
    for name, value in target.items():
        with unshard(value), torch.no_grad():
            if name in rows:
                here = held[name].table.exchange if name in held else ALONE
                index_S = index_V[here.rank :: here.world]
                known_S = index_S >= 0
                value[known_S.to(value.device)] = source[name][index_S[known_S]].to(value)
            else:
                value.copy_(source[name])


def encoder_uri(uri: str, field: str = "train.warm_start") -> str:
    """The encoder's own folder, given it or that of its run; `field` is what named it.

    Raises:
        UserError: neither holds an encoder.
    """
    for folder in (storage.join(storage.absolute(uri), "encoder"), storage.absolute(uri)):
        if storage.exists(storage.join(folder, "config.json")):
            return folder
    raise UserError(f"{field}: no encoder at {uri}: name the folder of a finished run, or of an encoder")


def _per_item(encoder: UserEncoder) -> set[str]:
    """Names of the tensors with a row for each item."""
    return {
        f"{name}.weight"
        for name, module in encoder.named_modules()
        if isinstance(module, ItemEmbedder) and module.per_item
    }


def _refuse_other(encoder: UserEncoder, trained: UserEncoder, shared: dict[str, Tensor], uri: str) -> None:
    """Refuse an encoder of another architecture, by the fields that differ."""
    changed = differences(_architecture(trained), _architecture(encoder))
    source = trained.state_dict()
    if not changed and any(_shape(value) != source[name].shape for name, value in shared.items()):
        changed = ["stream.max_len"]  # learned positions are the only weights that it decides
    if changed:
        raise UserError(
            f"train.warm_start: the encoder at {uri} has another architecture, it differs in {', '.join(changed)}: "
            "take its recipe for these, or start without it"
        )


def _architecture(encoder: UserEncoder) -> dict[str, Any]:
    config = encoder.config
    return {
        # Fields that an older encoder was stored without have their defaults.
        "encoder": _with_weights(EncoderConfig.model_validate(config.encoder).model_dump(mode="json")),
        "text.encoder": config.text_width,
        "objective (hidden items)": config.hides_items,
    }


def _with_weights(config: Any) -> Any:
    if isinstance(config, dict):
        return {name: _with_weights(value) for name, value in config.items() if name not in _NO_WEIGHTS}
    return [_with_weights(value) for value in config] if isinstance(config, list | tuple) else config


def _shape(value: Tensor) -> torch.Size:
    # A parameter partitioned as it was built is empty here; DeepSpeed keeps its real shape beside it.
    return torch.Size(getattr(value, "ds_shape", value.shape))
