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
from ray_userrep.feed.batch import Batch, WorksAhead
from ray_userrep.objectives.autoregressive import TARGETS
from ray_userrep.objectives.impressions import SHOWN
from ray_userrep.objectives.sampled import NEGATIVES
from ray_userrep.training.step import Micros, Views


def reading_ahead(encoder: nn.Module) -> Callable[[Micros], Micros]:
    """What gives the views of a micro-batch all that the modules of a model want to have made of them."""
    modules = [module for module in encoder.modules() if isinstance(module, WorksAhead)]
    read = _reader(encoder)
    if not modules and read is None:
        return lambda micros: micros

    def made_of(view: Batch) -> Batch:
        return replace(view, ahead={module: module.ahead(view) for module in modules}) if modules else view

    def of_one(views: Views) -> Views:
        if read is not None:
            views = [replace(views[0], labels=views[0].labels | read(_asked(views))), *views[1:]]
        return [made_of(view) for view in views]

    return lambda micros: micros._replace(views=[of_one(views) for views in micros.views])


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
