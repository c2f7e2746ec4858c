"""User-specific adaptive fine-tuning: each user takes the frozen or the trained copy of each block, as a policy says.

Blocks that pretraining got right for a user stay as they are for that user. It costs both copies: twice the parameters
and nearly twice the time. Behind a causal backbone the policy reads what lies up to each item, not the whole window:
that would tell earlier states what comes later.

Shapes: T tokens, B users, D width, K blocks, the input first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus import draws
from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.cnn import DilatedCNN
from ray_userrep.encoder.backbones.hstu import HSTU
from ray_userrep.encoder.backbones.mean import Mean
from ray_userrep.encoder.backbones.transformer import Transformer
from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.layers import in_training
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import MeanConfig
from ray_userrep.transfer.arms.base import Arm, Usage, copied

PolicyKind = Literal["hard", "soft", "rewards"]
_TEMPERATURE = 10.0
_RANDOM = 45  # what a draw is for


class Policy(nn.Module):
    """Which share of each trained copy a user takes, from the mean of the user's frozen inputs, `[T, K]`.

    Soft: the sigmoid of a small network. Hard: in training 0 or 1 as drawn, with the gradient of the Gumbel softmax of
    temperature 10 in its place; otherwise the likelier one (Chen et al., TKDE 2021). Rewards: drawn likewise, with no
    gradient of its own; a choice is made likelier by how far its user's loss lies below the batch's mean (REINFORCE:
    Williams 1992, with a baseline).
    """

    def __init__(self, width: int, num_blocks: int, causal: bool, kind: PolicyKind) -> None:
        super().__init__()
        self._kind = kind
        self._log_p_B: Tensor | None = None
        self.reads = Mean(MeanConfig(causal=causal, dropout=0.0), width)
        self.head = nn.Linear(width, num_blocks)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        logit_TK: Tensor = self.head(self.reads(x_TD, batch)).float()
        if self._kind == "soft":
            return logit_TK.sigmoid()
        if not in_training(self):
            return (logit_TK > 0).float()
        # The difference of two Gumbel draws is logistic; one draw a user and block, whatever the length.
        uniform_BK = torch.rand(batch.num_users, logit_TK.shape[1], device=logit_TK.device).clamp(1e-6, 1 - 1e-6)
        drawn_TK = logit_TK + _by_token(uniform_BK.logit(), batch)
        chosen_TK = (drawn_TK > 0).float()
        if self._kind == "rewards":
            self._log_p_B = _log_probability(logit_TK, chosen_TK, batch)
            return chosen_TK
        soft_TK = (drawn_TK / _TEMPERATURE).sigmoid()
        return chosen_TK + (soft_TK - soft_TK.detach())

    def credited(self, loss_B: Tensor) -> Tensor:
        """The users' losses, with the gradient that makes lucky choices likelier, where this is learned so."""
        if self._log_p_B is None:
            return loss_B
        below_B = (loss_B - loss_B.mean()).detach() * self._log_p_B
        self._log_p_B = None
        return loss_B + (below_B - below_B.detach())


class RandomPolicy(nn.Module):
    """Half of the blocks, drawn for each user once and for all: what a policy that learns must beat."""

    def __init__(self, num_blocks: int) -> None:
        super().__init__()
        self._num_blocks = num_blocks
        self._seed = int(torch.randint(2**62, ()))

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        """Zeros and ones, `[T, K]`."""
        users_B1 = batch.users_B.cpu().numpy()[:, None]
        drawn_BK = draws.uniforms(_RANDOM, self._seed, users_B1, np.arange(self._num_blocks)) < 0.5
        return _by_token(torch.from_numpy(drawn_BK).to(x_TD), batch)


class Mixed(nn.Module):
    """a·F(x) + (1 - a)·F₀(x), with F trained and F₀ frozen; `share_T1` is a, set for each batch."""

    share_T1: Tensor

    def __init__(self, tuned: nn.Module, frozen: nn.Module) -> None:
        super().__init__()
        self.tuned = tuned
        self._frozen = [frozen]  # in a list: it is the frozen encoder's child

    def forward(self, *inputs: Any) -> Tensor:
        return mix_states(self.tuned(*inputs), self._frozen[0](*inputs), self.share_T1)


class AdaptiveBackbone(Backbone):
    """A backbone whose parts are mixed with those of a frozen encoder, user by user; its input is the first of them."""

    def __init__(self, base: Backbone, frozen: UserEncoder, policy: nn.Module) -> None:
        super().__init__()
        self.causal = base.causal
        self.policy = policy
        self.frozen = frozen
        self._parts = mix_in(base, frozen.backbone)
        self.base = base

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            frozen_TD = self.frozen.inputs(batch)
        share_TK = self.policy(frozen_TD, batch)
        for part, block in self._parts:
            part.share_T1 = share_TK[:, block, None]
        return self.base(mix_states(x_TD, frozen_TD, share_TK[:, :1]), batch)

    def credited(self, loss_B: Tensor) -> Tensor:
        return self.policy.credited(loss_B) if isinstance(self.policy, Policy) else loss_B

    def train(self, mode: bool = True) -> "AdaptiveBackbone":
        super().train(mode)
        self.frozen.eval()  # what is frozen drops nothing and draws no noise
        return self


class UserAdaptive(Arm):
    """Two copies of every block and a policy: hard, soft, learned from rewards, or drawn."""

    mergeable = False

    def __init__(self, kind: PolicyKind | Literal["random"]) -> None:
        self.name = f"uaf_{kind}"
        self._kind = kind

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy beside a frozen one; both are the encoder at first.

        Raises:
            UserError: the backbone has no blocks that see tokens in the order of the batch, or the items are a table
                of rows.
        """
        if not isinstance(encoder.backbone, DilatedCNN | HSTU | Transformer):
            raise UserError(f"transfer.arms {self.name} takes encoder.backbone.kind cnn, transformer or hstu")
        if any(isinstance(module, RowItems) for module in encoder.items.modules()):
            raise UserError(f"transfer.arms {self.name} keeps frozen items, which encoder.items.kind rows cannot be")
        other = copied(encoder)
        num_blocks = 1 + len(_stack(encoder.backbone)[1])
        policy: nn.Module = RandomPolicy(num_blocks)
        if self._kind != "random":
            policy = Policy(encoder.width, num_blocks, encoder.backbone.causal, self._kind)
        other.backbone = AdaptiveBackbone(other.backbone, copied(encoder), policy.to(encoder.device))
        return other

    def trainable(self, name: str) -> bool:
        return not name.startswith("backbone.frozen.")

    @contextmanager
    def watching(self, adapted: UserEncoder) -> Iterator[Usage]:
        """What users take of each block's trained copy, by all that is known of them."""
        seen: list[Tensor] = []
        usage: Usage = {}

        def note(policy: nn.Module, given: tuple[Tensor, Batch], share_TK: Tensor) -> None:
            newest_B = (given[1].offsets_B1[1:] - 1)[given[1].lengths() > 0].long()
            seen.append(share_TK[newest_B].cpu())

        assert isinstance(adapted.backbone, AdaptiveBackbone)
        handle = adapted.backbone.policy.register_forward_hook(note)
        try:
            yield usage
        finally:
            handle.remove()
        share_UK = torch.cat(seen)
        for block, share_U in enumerate(share_UK.T):
            usage[f"block {block}" if block else "input"] = [float(share_U.mean()), float(share_U.std(correction=0))]


def mix_states(tuned_TD: Tensor, frozen_TD: Tensor, share_T1: Tensor) -> Tensor:
    """h = a·F(x) + (1 - a)·F₀(x)."""
    return share_T1 * tuned_TD + (1 - share_T1) * frozen_TD


def mix_in(base: Backbone, frozen: Backbone) -> list[tuple[Mixed, int]]:
    """Put the frozen parts beside a backbone's own; positions go with the input, the last norm with the last block."""
    name, stack = _stack(base)
    frozen_stack = _stack(frozen)[1]
    parts = [(Mixed(tuned, frozen_stack[place]), place + 1) for place, tuned in enumerate(stack)]
    setattr(base, name, nn.ModuleList(part for part, _ in parts))
    ends = {"positions": 0, "norm": len(stack)}
    for name, block in ends.items():
        if getattr(base, name, None) is not None:
            parts.append((Mixed(getattr(base, name), getattr(frozen, name)), block))
            setattr(base, name, parts[-1][0])
    return parts


def _stack(backbone: Backbone) -> tuple[str, nn.ModuleList]:
    """The backbone's blocks and their name in it."""
    return next((name, part) for name, part in backbone.named_children() if isinstance(part, nn.ModuleList))


def _log_probability(logit_TK: Tensor, chosen_TK: Tensor, batch: Batch) -> Tensor:
    """Of a user's choices in all blocks, `[B]`; behind a causal backbone the mean over what each place was told."""
    log_p_T = -F.binary_cross_entropy_with_logits(logit_TK, chosen_TK, reduction="none").sum(1)
    user_T = batch.per_token(torch.arange(batch.num_users, device=log_p_T.device))
    return log_p_T.new_zeros(batch.num_users).index_add(0, user_T, log_p_T) / batch.lengths().clamp(min=1)


def _by_token(values_BK: Tensor, batch: Batch) -> Tensor:
    return values_BK.repeat_interleave(batch.lengths(), 0, output_size=batch.num_tokens)
