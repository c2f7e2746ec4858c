"""MovieLens in its three published layouts: 100k (`u.data`), 1M (`ratings.dat`), 25M, 32M and latest (`ratings.csv`).

MovieTweetings is of the second, but for its users, who have no profile and are left out with a warning.

Every rating is an interaction, whatever its value. Item text is the title, category the genres joined by `|`; users
have gender, age and occupation where the release has them (codes as published). Files may be compressed; the films'
and users' files may be absent.
"""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

# fmt: off
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on
_PROFILE = ("gender", "age", "occupation")


class _Release(NamedTuple):
    ratings: str
    movies: str
    users: str | None
    log: LogLayout
    movies_csv: CsvFormat
    users_csv: CsvFormat


def _double_colon(*names: str) -> CsvFormat:
    """`a::b::c` is `a`, nothing, `b`, nothing, `c` when split at single colons; for fields without any."""
    spaced = [column for index, name in enumerate(names) for column in (f"_{index}", name)][1:]
    return CsvFormat(":", tuple(spaced), quoted=False)


def _columns(user: str, item: str) -> dict[str, str]:
    return {"user_id": user, "item_id": item, "timestamp": "timestamp", "rating": "rating"}


_RATING = ("user_id", "item_id", "rating", "timestamp")
_RELEASES = (
    _Release(
        "u.data",
        "u.item",
        "u.user",
        LogLayout(_columns("user_id", "item_id"), CsvFormat("\t", _RATING, quoted=False)),
        CsvFormat("|", ("item_id", "text", "date", "video_date", "url", *_GENRES), quoted=False),
        CsvFormat("|", ("user_id", "age", "gender", "occupation", "zip"), quoted=False),
    ),
    _Release(
        "ratings.dat",
        "movies.dat",
        "users.dat",
        LogLayout(_columns("user_id", "item_id"), _double_colon(*_RATING)),
        CsvFormat("\x01", ("line",), quoted=False),  # titles hold colons: lines are split below
        _double_colon("user_id", "gender", "age", "occupation", "zip"),
    ),
    _Release("ratings.csv", "movies.csv", None, LogLayout(_columns("userId", "movieId")), CsvFormat(), CsvFormat()),
)


def recognise(names: list[str]) -> bool:
    """`u.data`, `ratings.dat`, or `ratings.csv` beside `movies.csv`."""
    stems = {stem(name) for name in names}
    return "u.data" in stems or "ratings.dat" in stems or {"ratings.csv", "movies.csv"} <= stems


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of the first release whose ratings are there.

    Raises:
        UserError: no file of ratings.
    """
    by_stem = {release.ratings: [file for file in files if stem(file.uri) == release.ratings] for release in _RELEASES}
    release = next((release for release in _RELEASES if by_stem[release.ratings]), None)
    if release is None:
        raise UserError(f"no MovieLens ratings: none of {', '.join(by_stem)} (or .gz) among {len(files)} files")
    found = scan(config, by_stem[release.ratings], release.log)
    movies = [file for file in files if stem(file.uri) == release.movies]
    users = [file for file in files if stem(file.uri) == release.users]
    return Tables(
        found.parts(),
        _items(movies, release.movies_csv, found.mapping.item_type) if movies else None,
        _users(users, release.users_csv, found.mapping.user_type) if users else None,
        found.order,
    )


def _items(files: list[FileEntry], csv: CsvFormat, kind: pa.DataType) -> pa.Table:
    table = read_whole(files, csv)
    if "line" in table.column_names:
        # MovieTweetings has films without genres, with and without the separator before them.
        fields = pc.split_pattern(pc.binary_join_element_wise(table["line"], "::::", ""), "::")
        ids, titles, genres = (_filled(pc.list_element(fields, index)) for index in range(3))
    elif "movieId" in table.column_names:
        ids, titles, genres = table["movieId"], table["title"], table["genres"]
    else:
        ids, titles, genres = table["item_id"], table["text"], _flagged(table)
    return keyed(pa.table({"item_id": ids, "text": titles, "category": genres}), "item_id", kind, files[0].uri)


def _filled(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)


def _flagged(table: pa.Table) -> pa.ChunkedArray:
    """Names of the genres whose flag is 1, joined."""
    names = [pc.if_else(pc.equal(table[genre], "1"), genre, pa.scalar(None, pa.string())) for genre in _GENRES]
    return pc.binary_join_element_wise(*names, "|", null_handling="skip")


def _users(files: list[FileEntry], csv: CsvFormat, kind: pa.DataType) -> pa.Table:
    table = read_whole(files, csv).select(["user_id", *_PROFILE])
    table = table.set_column(2, "age", table["age"].cast(pa.int64()))
    return keyed(table, "user_id", kind, files[0].uri)
