"""What a file that lacks the columns of a log may be instead, and which field says so."""

import json

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import REQUIRED
from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.files import head, is_parquet
from ray_userrep.logs.names import plain
from ray_userrep.logs.text_files import is_json
from ray_userrep.logs.text_layout import CsvFormat, is_numbered
from ray_userrep.storage import FileEntry

_MOST = 4  # columns of a log without a header, above which they may be one user's items


def hint(file: FileEntry, names: list[str], wanted: list[str], csv: CsvFormat) -> str:
    """More words for the refusal of a file that has not the wanted columns; empty where nothing is to be said."""
    if is_numbered(names):
        example = json.dumps({name: str(place) for place, name in enumerate(REQUIRED[: len(names)])})
        told = f"; it has no header, so that columns are named by their places, as in {example}"
        lists = "; lines of `user item item …` are read by logs.reader s3rec" if len(names) > _MOST else ""
        return f"{told}{lists}"
    if is_parquet(file.uri) or is_json(file.uri):
        return _nested(file, names, wanted, csv)
    if not {plain(name) for name in names}.isdisjoint(map(plain, wanted)):
        return ""
    if len(names) == 1:
        return "; where these are several columns, set logs.layout.separator"
    return (
        "; where the first line is a row, set logs.layout.header false; where others come first, logs.layout.skip_lines"
    )


def refuse_lists(table: pa.Table, columns: list[str], file: FileEntry) -> None:
    """Refuse a log of one user a row.

    Raises:
        OtherSchema: a column holds lists.
    """
    for name in columns:
        if _is_list(table[name].type):
            raise OtherSchema(
                f"column {name!r} of {file.uri} is {table[name].type}: one interaction a row is needed, not a list of "
                "them; pandas' explode makes rows of lists"
            )


def _nested(file: FileEntry, names: list[str], wanted: list[str], csv: CsvFormat) -> str:
    """A word on columns that hold several values, where one of them may be what is looked for."""
    try:
        schema = head(file, csv, dict.fromkeys(names)).schema
    except UserError:
        return ""
    for field in schema:
        if _is_list(field.type):
            return f"; {field.name!r} holds lists: one interaction a row is needed, as pandas' explode makes"
        fields = [one.name for one in field.type] if pa.types.is_struct(field.type) else []
        found = next((one for one in fields if plain(one) in map(plain, wanted)), None)
        if found is not None:
            return f"; {field.name!r} has a field {found!r}: make it a column of its own"
    return ""


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
