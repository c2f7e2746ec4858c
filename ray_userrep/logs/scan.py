"""Settling how a log is read, from the first rows of all of its files: columns, id types and spellings.

Wrong columns, types and times are one clear error before any task starts, not a task's traceback later; that costs
opening each file once, by threads where files are few and by tasks where they are many. A file that cannot be read
is marked for the quarantine. Ids that are numbers in one file and text in another stop the job: they would not be the
same ids.
"""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED, ColumnMapping, require_columns
from ray_userrep.logs.damage import EMPTY_FILE, OTHER_SCHEMA, DamagedFile, OtherSchema
from ray_userrep.logs.decimals import has_comma
from ray_userrep.logs.files import Columns, FilePart, preview_rows
from ray_userrep.logs.hints import hint, refuse_lists
from ray_userrep.logs.hive import folder_values, refuse_range
from ray_userrep.logs.ids import convert_ids, id_type, inexact, inexact_message, valid_text
from ray_userrep.logs.names import respelled
from ray_userrep.logs.plausible import cure, doubt, is_rounded, is_small
from ray_userrep.logs.reading import LogLayout, Piece, Scan, numbers, refusal_of, require, source_columns, with_folders
from ray_userrep.logs.rejection import is_missing
from ray_userrep.logs.tasks import results
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_THREADS = 16
_ON_DRIVER = 1024  # files that are looked at without tasks
_FILES_PER_TASK = 256
_SAMPLE = 100  # times of a file
_SHOWN = 8  # columns of a file that is no log
_EPOCH = dt.date(1970, 1, 1)


class _Seen(NamedTuple):
    """What the first rows of a file show; `refusal` is why it cannot be read: the reason, more words, the error."""

    file: FileEntry
    parts: list[FilePart]
    columns: tuple[str, ...]
    refusal: tuple[str, str] | None = None
    error: str | None = None
    rows: int = 0
    user_type: pa.DataType = pa.null()
    item_type: pa.DataType = pa.null()
    span: tuple[float, float] | None = None  # of the times, in seconds since 1970
    times: tuple[str, ...] = ()
    odd_time: str | None = None
    notes: tuple[str, ...] = ()  # what was taken of its layout without being said
    comma: str | None = None  # the column whose numbers have a decimal comma


class _NoColumns(OtherSchema):
    """A file has other columns than a log, these `names`."""

    def __init__(self, words: str, names: list[str]) -> None:
        super().__init__(words)
        self.names = names


def scan(config: LogsConfig, files: list[FileEntry], layout: LogLayout, first_file: int = 0) -> Scan:
    """Look at the first rows of every file and settle columns, id types and spellings.

    `first_file` numbers the first file, where one log takes several scans.

    Raises:
        UserError: no rows; a column is missing or of a wrong type; ids of mixed type; no time can be read; days are
            wanted of a log without times; times are in 1970 or in the future.
    """
    if config.order == "row":
        layout = replace(layout, timed=False)
    if not layout.timed and files:
        refuse_range(config, files[0].uri)
    mapping = _wanted(config, files, layout)
    layout = replace(layout, decimal_comma=config.layout.decimal == "comma")
    seen = _look_at(files, partial(_look, mapping=mapping, layout=layout, ids_are_text=config.ids == "string"))
    good = [one for one in seen if one.refusal is None]
    if not any(one.rows for one in good):
        raise UserError(_nothing(seen) or f"the log is empty: no rows in {_some(files)}")
    _refuse_others(config, seen)
    if mapping.timed:
        _require_times(good, mapping)
    if layout.timed and config.timestamp_origin is None:
        _refuse_unlikely(good, mapping)
    there = {name for one in good for name in (*one.columns, *layout.said(one.file.uri))}
    _require_mapped(config, there)
    kept = {name: column for name, column in mapping.columns.items() if column in there}
    user_type = _agreed([(one.file, one.user_type) for one in good], kept["user_id"])
    item_type = _agreed([(one.file, one.item_type) for one in good], kept["item_id"])
    mapping = replace(mapping, columns=kept, user_type=user_type, item_type=item_type)
    comma = next((one for one in good if one.comma is not None), None)
    if comma is not None and config.layout.decimal == "auto":
        layout = replace(layout, decimal_comma=True)
        print(f"note      {comma.file.uri}: a comma is the decimal sign of {comma.comma!r}", flush=True)
    _tell(good)
    work = [
        Piece(number, part, one.columns, one.refusal)
        for number, one in enumerate(seen, first_file)
        for part in one.parts
    ]
    return Scan(config, layout, mapping, work)


def _wanted(config: LogsConfig, files: list[FileEntry], layout: LogLayout) -> ColumnMapping:
    """Every column that is to be read where it is there; ids count as text until they have been seen."""
    unknown = [name for name in config.columns if name not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        raise UserError(f"logs.columns: unknown {unknown[0]!r}; it takes {', '.join((*REQUIRED, *OPTIONAL))}")
    folders = {name: name for file in files for name in folder_values(file.uri) if name in OPTIONAL}
    columns = {**folders, **layout.columns, **config.columns}
    if config.order == "row":
        columns.pop("timestamp", None)
    if config.side_columns is not None:
        columns = {name: column for name, column in columns.items() if name in (*REQUIRED, *config.side_columns)}
    formats = layout.formats if config.timestamp_format is None else (config.timestamp_format,)
    origin = ((config.timestamp_origin or _EPOCH) - _EPOCH).days
    return ColumnMapping(columns, pa.string(), pa.string(), config.timestamp_unit, formats, origin)


def _look_at(files: list[FileEntry], one: "partial[_Seen | UserError]") -> list[_Seen]:
    """What all files show, in their order."""

    def many(some: list[FileEntry]) -> list[_Seen | UserError]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(one, some))

    if len(files) <= _ON_DRIVER:
        found = many(files)
    else:
        chunks = [files[start : start + _FILES_PER_TASK] for start in range(0, len(files), _FILES_PER_TASK)]
        found = [seen for chunk in results([(many, chunk) for chunk in chunks]) for seen in chunk]
    return list(_or_raise(found))


def _or_raise(found: list[_Seen | UserError]) -> Iterator[_Seen]:
    for one in found:
        if isinstance(one, UserError):
            raise one
        yield one


def _look(file: FileEntry, mapping: ColumnMapping, layout: LogLayout, ids_are_text: bool) -> _Seen | UserError:
    """What a file shows, or the error that stops the job: Ray would wrap it."""
    whole = [FilePart(file, 0, None, 0)]
    try:
        if not file.size:
            return _Seen(file, whole, (), (EMPTY_FILE, "no bytes"))
        return _first_rows(file, mapping, layout, ids_are_text)
    except _NoColumns as error:
        return _Seen(file, whole, tuple(error.names), refusal_of(error, file), str(error))
    except DamagedFile as error:
        return _Seen(file, whole, (), refusal_of(error, file), str(error))
    except UserError as error:
        return error


def _first_rows(file: FileEntry, mapping: ColumnMapping, layout: LogLayout, ids_are_text: bool) -> _Seen:
    folders = layout.said(file.uri)
    wanted = source_columns(mapping.columns, layout, [])

    def choose(names: list[str]) -> Columns:
        told = respelled(names, wanted, file.uri)
        try:
            require_columns([*told, *(name for name in folders if name not in told)], mapping, file.uri)
        except OtherSchema as error:
            raise _NoColumns(f"{error}{hint(file, names, list(wanted), layout.csv)}", names) from None
        require([*told, *folders], layout.extra, file)
        return {name: kind for name, kind in wanted.items() if name in told}

    found = preview_rows(file, layout.csv, layout.parser, choose)
    if not found.columns:
        return _Seen(file, [FilePart(file, 0, None, 0)], (), (EMPTY_FILE, "no lines"))
    first = numbers(with_folders(found.head, folders), mapping, layout)
    refuse_lists(first, [mapping.columns[name] for name in mapping.required], file)
    user, item = (mapping.columns[name] for name in ("user_id", "item_id"))
    seen = _Seen(
        file=file,
        parts=found.parts,
        columns=tuple(respelled(found.columns, wanted, file.uri)),
        rows=first.num_rows,
        user_type=_id_type(first[user], user, file, ids_are_text),
        item_type=_id_type(first[item], item, file, ids_are_text or layout.text_items),
        notes=found.notes,
        comma=_comma(first, mapping),
    )
    return _with_times(seen, first[mapping.columns["timestamp"]], mapping) if mapping.timed else seen


def _with_times(seen: _Seen, values: pa.ChunkedArray, mapping: ColumnMapping) -> _Seen:
    raw_times = valid_text(values)
    times = mapping.times(raw_times, seen.file.uri)
    odd = raw_times.filter(pc.and_(pc.is_null(times), pc.invert(is_missing(raw_times))))
    return seen._replace(
        span=_span(times),
        times=tuple(str(value) for value in raw_times.filter(pc.is_valid(times)).slice(0, _SAMPLE)),
        odd_time=str(odd[0]) if len(odd) else None,
    )


def _comma(first: pa.Table, mapping: ColumnMapping) -> str | None:
    """The first column of numbers that has a decimal comma, where none has a point."""
    names = [column for name, column in mapping.columns.items() if OPTIONAL.get(name) == pa.float64()]
    return next((name for name in names if name in first.column_names and has_comma(first[name])), None)


def _span(times: pa.ChunkedArray) -> tuple[float, float] | None:
    bounds = pc.min_max(times.cast(pa.int64())).as_py()
    return None if bounds["min"] is None else (bounds["min"] / 10**6, bounds["max"] / 10**6)


def _id_type(values: pa.ChunkedArray, column: str, file: FileEntry, is_text: bool) -> pa.DataType:
    """The type of an id column, once its first values have been shown to fit it.

    Raises:
        OtherSchema: none of them is an id.
        UserError: one of them cannot be told from an id of another type.
    """
    values = valid_text(values)
    kind = id_type(values, column, file.uri)
    kind = pa.string() if is_text and not pa.types.is_null(kind) else kind
    bad = inexact(values, kind)
    exact = values if bad is None else pc.if_else(bad, pa.scalar(None, values.type), values)
    convert_ids(exact, kind, column, file.uri)
    if bad is not None and exact.null_count == len(exact):
        raise OtherSchema(inexact_message(values.filter(bad), column, file.uri))
    return kind


def _nothing(seen: list[_Seen]) -> str | None:
    """Why no file can be read: of several that are other tables, which columns each has."""
    first = next((one for one in seen if one.error is not None), None)
    others = [one for one in seen if one.columns]
    if first is None or len(others) < 2:
        return None if first is None else first.error
    told = "; ".join(f"{one.file.uri.rsplit('/', 1)[-1]} has {', '.join(one.columns[:_SHOWN])}" for one in others[1:5])
    return f"{others[0].error}; {told}: of several tables, name the log's own with --logs"


def _refuse_others(config: LogsConfig, seen: list[_Seen]) -> None:
    """Refuse a log where too many files beside it are none: which of them is meant is for the user to say."""
    others = [one for one in seen if one.refusal is not None and one.refusal[0] == OTHER_SCHEMA]
    if len(others) <= config.max_quarantined_share * len(seen):
        return
    log = max((one for one in seen if one.refusal is None), key=lambda one: one.file.size)
    raise UserError(
        f"{len(others)} of {len(seen)} files are not of this log: {others[0].error}. Name the one that is, as in "
        f"--logs {log.file.uri}, move the others away, or raise logs.max_quarantined_share to leave them out"
    )


def _tell(seen: list[_Seen]) -> None:
    """Say once what was taken from first lines."""
    for note in dict.fromkeys(note for one in seen for note in one.notes):
        print(f"note      {_some([one.file for one in seen if note in one.notes])}: {note}", flush=True)


def _require_times(seen: list[_Seen], mapping: ColumnMapping) -> None:
    odd = next((one for one in seen if one.odd_time is not None), None)
    if odd is not None and odd.odd_time is not None and not any(one.span for one in seen):
        raise UserError(
            f"no timestamp can be read: column {mapping.columns['timestamp']!r} of {odd.file.uri} holds, for example, "
            f"{odd.odd_time!r}; {_set(odd.odd_time)}"
        )


def _set(sample: str) -> str:
    if sample.startswith(("[", "(")):
        return "one interaction a row is needed, not a list of them: pandas' explode makes rows of lists"
    likely = cure(sample)
    if likely:
        return f"set {likely}"
    return "say how it is written: logs.timestamp_format for text, logs.timestamp_unit for numbers"


def _refuse_unlikely(seen: list[_Seen], mapping: ColumnMapping) -> None:
    """Refuse times that a wrong unit explains best; warn where they may be an order."""
    spans = [one.span for one in seen if one.span is not None]
    if not spans:
        return
    latest, first = max(span[1] for span in spans), next(one for one in seen if one.times)
    odd = doubt(min(span[0] for span in spans), latest)
    if odd is None and is_rounded([text for one in seen for text in one.times]):
        raise UserError(
            f"column {mapping.columns['timestamp']!r} of {first.file.uri} holds rounded numbers, for example "
            f"{first.times[0]!r}: write them out in full"
        )
    if odd is None:
        return
    told = f"{odd}: column {mapping.columns['timestamp']!r} of {first.file.uri} holds, for example, {first.times[0]!r}"
    if is_small(latest):
        print(f"warning   {told}; they are taken for an order", flush=True)
        return
    raise UserError(f"{told}; {_set(first.times[0])}; where it is meant so, set logs.timestamp_origin 1970-01-01")


def _require_mapped(config: LogsConfig, there: set[str]) -> None:
    for name, column in config.columns.items():
        if column not in there:
            raise UserError(
                f"logs.columns maps {name} to {column!r}, which no file has; there are {', '.join(sorted(there))}"
            )


def _agreed(found: list[tuple[FileEntry, pa.DataType]], column: str) -> pa.DataType:
    told = [(file, kind) for file, kind in found if not pa.types.is_null(kind)]
    if not told:
        return pa.string()
    first, kind = told[0]
    for file, other in told:
        if other != kind:
            raise UserError(
                f"column {column!r} has ids of mixed type: {kind} in {first.uri}, {other} in {file.uri}; "
                f"write them alike, or set logs.ids string to read all of them as text"
            )
    return kind


def _some(files: list[FileEntry]) -> str:
    return files[0].uri if len(files) == 1 else f"{files[0].uri} and {len(files) - 1} more"
