"""Several tables of events as one log: the file that a row is in says its event, as `logs.events` has it.

A table without a column of items, as of searches, is of interactions with an item called as its event: the time and the
kind are kept, what was searched for is not. Ids of items are text then.
"""

from dataclasses import replace
from functools import partial

from ray_userrep.errors import UserError
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.files import column_names
from ray_userrep.logs.hive import folder_values
from ray_userrep.logs.listing import event_of, log_files, log_folder
from ray_userrep.logs.names import plain
from ray_userrep.logs.reading import LogLayout
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_EVENT = "logs.events"  # a column that no file has


def with_events(config: LogsConfig, layout: LogLayout) -> LogLayout:
    """The layout of a log whose files say their event; where no event is named, as it is.

    Raises:
        UserError: no table has a column of items.
    """
    if not config.events:
        return layout
    item = config.columns.get("item_id", "item_id")
    folder, files = log_folder(config), log_files(config)[1]  # those that are in the corpus, too: ids stay of one type
    first = {event_of(file.uri, folder, config.events): file for file in reversed(files)}
    without = [event for event in config.events if plain(item) not in map(plain, _names(first[event], layout))]
    if len(without) == len(config.events):
        raise UserError(f"no table of logs.events has a column {item!r} for item_id: map it with logs.columns")
    for event in without:
        print(f"note      {first[event].uri} has no column {item!r}: the item of its rows is {event!r}", flush=True)
    said = partial(_said, folder=folder, events=config.events, item=item, without=frozenset(without))
    columns = layout.columns | {"event": _EVENT}
    return replace(layout, columns=columns, said=said, text_items=bool(without))


def _names(file: FileEntry, layout: LogLayout) -> list[str]:
    try:
        return column_names(file, layout.csv)
    except DamagedFile:
        return list(layout.columns.values())  # the scan tells of it


def _said(uri: str, folder: str, events: dict[str, str], item: str, without: frozenset[str]) -> dict[str, str | None]:
    event = event_of(uri, folder, events)
    return folder_values(uri) | {_EVENT: event} | ({item: event} if event in without else {})
