"""What a model makes of a batch while it is on the host, in the thread that makes batches.

What later would make the host wait for the device is made here by the modules that need it (`WorksAhead`). Pictures and
texts of a batch's items are read here as well, and travel with the first view of a micro-batch to the device; so do the
items' numbers where several ranks hold their vectors: then a micro-batch asks the others once. Whatever an objective
asks item vectors of is among what is shown, predicted and drawn as negatives: it is read once an item, and encoded
once.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.content import Content, content_items
from ray_userrep.encoder.items.rows import ASKED, is_dealt_out
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import WorksAhead
from ray_userrep.objectives.autoregressive import TARGETS
from ray_userrep.objectives.impressions import SHOWN
from ray_userrep.objectives.sampled import NEGATIVES
from ray_userrep.training.step import Micros, Views


def read_ahead(encoder: nn.Module, micros: Micros) -> Micros:
    """The views with what the modules of a model want to have made of them."""
    return _worked_on(encoder, _with_content(encoder, micros))


def _worked_on(encoder: nn.Module, micros: Micros) -> Micros:
    modules = [module for module in encoder.modules() if isinstance(module, WorksAhead)]
    if not modules:
        return micros
    views = [
        [replace(view, ahead={module: module.ahead(view) for module in modules}) for view in one]
        for one in micros.views
    ]
    return micros._replace(views=views)


def _with_content(encoder: nn.Module, micros: Micros) -> Micros:
    """The views with what their items' vectors are made from, where there is anything to read ahead."""
    read = _reader(encoder)
    if read is None:
        return micros
    views = []
    for first, *others in micros.views:
        labels = first.labels | read(_asked([first, *others]))
        views.append([replace(first, labels=labels), *others])
    return micros._replace(views=views)


def _reader(encoder: nn.Module) -> Callable[[Tensor], Content] | None:
    """What reads ahead of items: pictures and texts where anything of these trains, or who is asked for the vectors.

    A graph network looks up items that no window holds: those are asked for as it meets them.
    """
    embedder = content_items(encoder)
    if embedder is not None and any(parameter.requires_grad for parameter in embedder.parameters()):
        return embedder.read
    looks_around = isinstance(encoder, UserEncoder) and encoder.graph is not None
    return _numbers if is_dealt_out(encoder) and not looks_around else None


def _numbers(items: Tensor) -> Content:
    return {ASKED: torch.unique(items)}


def _asked(views: Views) -> Tensor:
    """The items whose vectors an objective asks for; the first item stands in for tokens that are none."""
    named = [column for view in views for column in (view.side | view.labels).items()]
    others = [values for name, values in named if name in (TARGETS, NEGATIVES, SHOWN)]
    return torch.cat([*(view.values_T for view in views), *others]).clamp(min=0)
