"""Adapters in a frozen backbone: PeterRec's model patches behind its maps or beside them, and LoRA by the peft library.

A patch is put around a map as a module, so that backbones know nothing of patches; their parameters get other names.

Shapes: T tokens, D width, F inputs of the map, R width of the patch.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones import cnn, transformer
from ray_userrep.encoder.layers import Linear, ZeroLinear
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.arms.plain import Scratch


class Patch(nn.Module):
    """A 1×1 convolution down, GELU and one up, which starts at zero (Yuan et al., SIGIR 2020, section 3.4)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        narrow = max(1, width // reduction)
        self.down = Linear(width, narrow)
        self.up = ZeroLinear(narrow, width)

    def forward(self, x_TD: Tensor) -> Tensor:
        out_TD: Tensor = self.up(F.gelu(self.down(x_TD)))
        return out_TD


class Serial(nn.Module):
    """y + patch(y), with y the map's output."""

    def __init__(self, base: nn.Module, patch: Patch) -> None:
        super().__init__()
        self.base = base
        self.patch = patch

    def forward(self, x_TF: Tensor) -> Tensor:
        y_TD: Tensor = self.base(x_TF)
        return y_TD + self.patch(y_TD)


class Parallel(nn.Module):
    """map(x) + patch(x), where the patch is given the token's own part of the map's input."""

    def __init__(self, base: nn.Module, patch: Patch, own: slice) -> None:
        super().__init__()
        self.base = base
        self.patch = patch
        self._own = own

    def forward(self, x_TF: Tensor) -> Tensor:
        y_TD: Tensor = self.base(x_TF)
        return y_TD + self.patch(x_TF[:, self._own])


class Patches(Arm):
    """A patch at each convolution of a CNN, or at each attention output and feed-forward of a Transformer."""

    mergeable = False

    def __init__(self, place: Literal["serial", "parallel"], reduction: int) -> None:
        self.name = f"{place}_patches"
        self._place = place
        self._reduction = reduction

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy with patches, which does what the encoder does as long as they are not trained.

        Raises:
            UserError: the backbone is neither a CNN nor a Transformer.
        """
        other = copied(encoder)
        places = list(_maps(other.backbone, other.width))
        if not places:
            raise UserError(f"transfer.arms {self.name}: patches go into encoder.backbone.kind cnn or transformer")
        for block, name, own in places:
            base, patch = getattr(block, name), Patch(other.width, self._reduction).to(other.device)
            setattr(block, name, Serial(base, patch) if self._place == "serial" else Parallel(base, patch, own))
        return other

    def trainable(self, name: str) -> bool:
        return ".patch." in name


class PatchedScratch(Arm):
    """The patched architecture with first weights, all of which train: PeterRec without pretraining (PeterZero)."""

    name = "peter_zero"
    mergeable = False

    def __init__(self, reduction: int) -> None:
        self._patches = Patches("serial", reduction)

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A fresh encoder with serial patches.

        Raises:
            UserError: the backbone is neither a CNN nor a Transformer.
        """
        return self._patches.apply(Scratch().apply(encoder))

    def trainable(self, name: str) -> bool:
        return True


def _maps(backbone: nn.Module, width: int) -> Iterator[tuple[nn.Module, str, slice]]:
    """The maps that get a patch: their module, their name in it, and where a token's own vector is in their input."""
    for module in list(backbone.modules()):
        if isinstance(module, cnn.ConvBlock):
            taps = module.own_tap * width
            yield from ((module, name, slice(taps, taps + width)) for name in ("first", "second"))
        elif isinstance(module, transformer.TransformerBlock):
            yield module.attention, "out", slice(0, width)
            yield module, "ffn", slice(0, width)


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
