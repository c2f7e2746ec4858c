"""What a backbone is: item vectors of jagged windows go in, a state for every token comes out.

A backbone is given the whole batch, not its offsets alone, so that those which look at time find it there.

Shapes: T tokens, B users, D width.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ray_userrep.feed.batch import Batch


class Backbone(nn.Module, ABC):
    """Mixes the tokens of each window, never those of two; causal where a state depends on no later token."""

    causal: bool
    separates_context: bool = False  # whether the context is given beside the items, not added to them

    @abstractmethod
    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        """States of every token, `[T, D]`; one that separates the context takes `context_TD` as well."""

    def credited(self, loss_B: Tensor) -> Tensor:
        """The users' losses of the batch just seen, with the gradient of what was drawn for each; values stay."""
        return loss_B
