"""RetailRocket as published (`events.csv`), and in the Case Recommender project's cut (`.dat` files, also zipped).

The original has times in milliseconds and three events: `view`, `addtocart`, `transaction`. The cut has the same
events, one a file, and no time (see `untimed`): which of a user's events came first is not known across its files. Item
properties are hashed in the original, and are left alone.
"""

from ray_userrep.errors import UserError
from ray_userrep.logs.files import stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import only, untimed
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_EVENTS = {
    "view_ecommerce.dat": "view",
    "add_to_cart_ecommerce.dat": "addtocart",
    "purchase_ecommerce.dat": "transaction",
}
_ORIGINAL = "events.csv"
_COLUMNS = {"user_id": "visitorid", "item_id": "itemid", "timestamp": "timestamp", "event": "event"}


def recognise(names: list[str]) -> bool:
    """A file of the cut, or `events.csv` beside the published files of items."""
    stems = {stem(name) for name in names}
    return not stems.isdisjoint(_EVENTS) or {_ORIGINAL, "category_tree.csv"} <= stems


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions with their `event`; nothing is known of items and users.

    Raises:
        UserError: there is neither the original nor the cut.
    """
    original, cut = only(files, _ORIGINAL), only(files, *_EVENTS)
    if original:
        if config.timestamp_unit == "s":
            config = config.model_copy(update={"timestamp_unit": "ms"})
        log = scan(config, original, LogLayout(_COLUMNS))
        return Tables(log.parts(), None, None, log.order)
    if not cut:
        raise UserError(f"neither {_ORIGINAL} nor {', '.join(_EVENTS)} among {len(files)} files")
    log = scan(config, cut, untimed("visitorid", "itemid", _EVENTS))
    return Tables(log.parts(), None, None, log.order)
