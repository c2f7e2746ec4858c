"""From an arm's name to the arm."""

from typing import assert_never

from ray_userrep.recipe.transfer import ArmName, TransferConfig
from ray_userrep.transfer.arms.adapters import LoRA, PatchedScratch, Patches
from ray_userrep.transfer.arms.adaptive import UserAdaptive
from ray_userrep.transfer.arms.base import Arm
from ray_userrep.transfer.arms.bridges import Bridge
from ray_userrep.transfer.arms.plain import Frozen, Full, LastLayers, Scratch
from ray_userrep.transfer.arms.unisrec import Inductive, Transductive, TransductiveScratch
from ray_userrep.transfer.tasks.base import HeadShape


def build_arm(name: ArmName, config: TransferConfig) -> Arm:
    """The arm with the sizes that the config gives it."""
    match name:
        case "scratch":
            return Scratch()
        case "frozen_mlp":
            return Frozen(name, config.hidden)
        case "head_only":
            return Frozen(name, 0)
        case "last_layers":
            return LastLayers(config.num_last)
        case "full":
            return Full()
        case "lora":
            return LoRA(config.lora_rank)
        case "serial_patches":
            return Patches("serial", config.patch_reduction)
        case "parallel_patches":
            return Patches("parallel", config.patch_reduction)
        case "peter_zero":
            return PatchedScratch(config.patch_reduction)
        case "uaf_hard":
            return UserAdaptive("hard")
        case "uaf_soft":
            return UserAdaptive("soft")
        case "uaf_rewards":
            return UserAdaptive("rewards")
        case "uaf_random":
            return UserAdaptive("random")
        case "unisrec_inductive":
            return Inductive()
        case "unisrec_transductive":
            return Transductive()
        case "unisrec_zero":
            return TransductiveScratch()
        case "linear_bridge" | "emcdr":
            return Bridge(name, HeadShape(bridge="linear", of_factors=name == "emcdr"))
        case "personal_bridge" | "ptupcdr":
            return Bridge(name, HeadShape(config.bridge_hidden, "personal", name == "ptupcdr"))
        case never:
            assert_never(never)
