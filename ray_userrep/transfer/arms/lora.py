"""Low-rank changes of the backbone's linear maps, by the peft library."""

from torch import nn

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.transfer.arms.base import Arm, copied


class LoRA(Arm):
    """W + B·A beside every linear map of the backbone, B at zero first (Hu et al., ICLR 2022, section 4.1)."""

    name = "lora"

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy with the changes beside the maps.

        Raises:
            UserError: the backbone has no linear maps.
        """
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds, and only this arm wants it

        other = copied(encoder)
        maps = [name for name, module in other.backbone.named_modules() if isinstance(module, nn.Linear)]
        if not maps:
            raise UserError("transfer.arms lora: this encoder's backbone has no linear maps")
        inject_adapter_in_model(
            LoraConfig(r=self._rank, lora_alpha=2 * self._rank, target_modules=maps), other.backbone
        )
        return other

    def merged(self, adapted: UserEncoder) -> UserEncoder:
        """W + B·A as one map."""
        from peft.tuners.lora import LoraLayer

        for parent in list(adapted.backbone.modules()):
            for name, module in list(parent.named_children()):
                if isinstance(module, LoraLayer):
                    module.merge()
                    setattr(parent, name, module.get_base_layer())
        return adapted

    def trainable(self, name: str) -> bool:
        return ".lora_" in name
