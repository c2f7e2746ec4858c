"""The methods that learn a sequence of tasks, told apart by what they train and by whose weights a task runs with.

All of them start a task with a head of its own and keep that head. What a later task trains beside its head overwrites
an earlier one's weights, unless the method keeps them apart: that is the whole of forgetting.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.recipe.continual import MethodName
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.continual.masks import Owners, mask, owned_until
from ray_userrep.transfer.tasks.base import Task


class Stage(NamedTuple):
    """A place in the sequence: its task, and a fresh encoder over the items of the corpus that it is about."""

    name: str
    task: Task
    fresh: UserEncoder
    catalogue: str


class Kept(NamedTuple):
    """What a task leaves behind: the encoder's weights that it trained, the heads, and who owns the masked weights.

    A head's tensors are named `<number of its task>/<parameter>`.
    """

    own: dict[str, Tensor]
    heads: dict[str, Tensor]
    owners: Owners


class Method(NamedTuple):
    """How a sequence is learned.

    `runs_with` names, given a task and the newest one, those whose weights the task runs with, later ones over earlier
    ones; `trains_all` says whether tasks after the first train the encoder, `masks` whether it is masked, `together`
    whether the tasks before it on its catalogue train along.
    """

    name: MethodName
    runs_with: Callable[[int, int], Iterable[int]]
    trains_all: bool
    masks: bool = False
    together: bool = False


METHODS: dict[MethodName, Method] = {
    "conure": Method("conure", lambda task, newest: range(task + 1), trains_all=False, masks=True),
    "in_turn": Method("in_turn", lambda task, newest: range(newest + 1), trains_all=True),
    "fine_all": Method("fine_all", lambda task, newest: sorted({0, task}), trains_all=True),
    "head_only": Method("head_only", lambda task, newest: range(task + 1), trains_all=False),
    "single": Method("single", lambda task, newest: [task], trains_all=True),
    "multi_task": Method("multi_task", lambda task, newest: range(newest + 1), trains_all=True, together=True),
}
"""In the words of Conure's authors, SinMoAll is `in_turn`, FineAll `fine_all` and SinMo `single`."""


class Trained(Arm):
    """The parameters that are named, and of masked weights the active part."""

    name = "continual"

    def __init__(self, trains: Callable[[str], bool], active: Owners | None = None) -> None:
        self._trains = trains
        self._active = active or {}

    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """A copy, masked where that was asked for."""
        other = copied(encoder)
        mask(other, self._active)
        return other

    def trainable(self, name: str) -> bool:
        plain = name.replace(".parametrizations.weight.original", ".weight")
        return plain in self._active or self._trains(plain)


def trained_by(method: Method, stages: list[Stage], number: int) -> Callable[[str], bool]:
    """Which unmasked parameters train with a task: all with the first, and item vectors with a catalogue's first."""
    stage = stages[number]
    is_new = all(stage.catalogue != earlier.catalogue for earlier in stages[:number])
    rows = item_rows(stage.fresh) if is_new else set()
    return lambda name: number == 0 or method.trains_all or name in rows


def trained_along(method: Method, stages: list[Stage], number: int) -> list[int]:
    """The earlier tasks that train along with a task."""
    same = [n for n in range(number) if stages[n].catalogue == stages[number].catalogue]
    return same if method.together else []


def head_of(kept: list[Kept], number: int) -> dict[str, Tensor]:
    """A task's head as it was trained last."""
    heads = {name: value for one in kept for name, value in one.heads.items()}
    mine = f"{number}/"
    return {name.removeprefix(mine): value for name, value in heads.items() if name.startswith(mine)}


def encoder_of(method: Method, stages: list[Stage], kept: list[Kept], number: int) -> UserEncoder:
    """The encoder that a task runs with, or starts from where it is the next one, after those that are kept.

    Vectors of items are taken from tasks on the same catalogue; all other weights go with every task.
    """
    stage, state = stages[number], stages[number].fresh.state_dict()
    rows = item_rows(stage.fresh)
    for other in method.runs_with(number, len(kept) - 1):
        if other < len(kept):
            same = stages[other].catalogue == stage.catalogue
            state |= {name: value for name, value in kept[other].own.items() if same or name not in rows}
    if method.masks and kept:
        newest = kept[-1]
        state |= {name: owned_until(newest.own[name], owner, number + 1) for name, owner in newest.owners.items()}
    encoder = copied(stage.fresh)
    encoder.load_state_dict(state)
    return encoder.eval()


def item_rows(encoder: UserEncoder) -> set[str]:
    """Names of the tensors that have a row for each item, and so belong to a catalogue."""
    found = (name for name, module in encoder.named_modules() if isinstance(module, ItemEmbedder) and module.per_item)
    return {f"{name}.weight" for name in found}
