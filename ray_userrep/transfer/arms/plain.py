"""Arms that add nothing to the encoder: from scratch, frozen, its last layers, all of it."""

from torch import nn

from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig
from ray_userrep.errors import UserError
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.tasks.base import HeadShape


class Scratch(Arm):
    """The same architecture with first weights: what pretraining must beat."""

    name = "scratch"

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """An encoder with weights drawn from torch's generator."""
        assert encoder.item_table is not None
        config = UserEncoderConfig(**encoder.config.to_dict())
        fresh = UserEncoder(config, encoder.item_table)
        fresh.item_table, fresh.graph = encoder.item_table, encoder.graph
        return fresh.to(encoder.device)  # type: ignore[arg-type]

    def trainable(self, name: str) -> bool:
        return True


class Frozen(Arm):
    """The user vector as it is, under a linear head or a network with a hidden layer; nothing is dropped from it."""

    def __init__(self, name: str, hidden: int) -> None:
        self.name = name
        self.head = HeadShape(hidden)

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        return copied(encoder)

    def trainable(self, name: str) -> bool:
        return False


class LastLayers(Arm):
    """The last blocks of the backbone and the norm behind them."""

    name = "last_layers"

    def __init__(self, num_last: int) -> None:
        self._num_last = num_last
        self._trained: tuple[str, ...] = ()

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy.

        Raises:
            UserError: the backbone has no blocks, or fewer.
        """
        stacks = [(name, part) for name, part in encoder.backbone.named_children() if isinstance(part, nn.ModuleList)]
        name, blocks = stacks[0] if stacks else ("", nn.ModuleList())
        if len(blocks) < self._num_last:
            raise UserError(
                f"transfer.arms last_layers: the backbone has {len(blocks)} blocks, "
                f"transfer.num_last is {self._num_last}"
            )
        last = range(len(blocks) - self._num_last, len(blocks))
        self._trained = (*(f"backbone.{name}.{number}." for number in last), "backbone.norm.")
        return copied(encoder)

    def trainable(self, name: str) -> bool:
        return name.startswith(self._trained)


class Full(Arm):
    """All of the encoder (PeterRec's FineAll)."""

    name = "full"

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        return copied(encoder)

    def trainable(self, name: str) -> bool:
        return True
