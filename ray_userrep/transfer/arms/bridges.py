"""Bridges between two domains as arms: the encoder stays frozen, and all that trains is the bridge, as the task's head.

What such an arm makes is no encoder: it is judged, and not kept.
"""

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.tasks.base import HeadShape


class Bridge(Arm):
    """From a user's vector, or factors in the source domain, to another domain."""

    mergeable = False

    def __init__(self, name: str, head: HeadShape) -> None:
        self.name = name
        self.head = head

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        return copied(encoder)

    def trainable(self, name: str) -> bool:
        return False
