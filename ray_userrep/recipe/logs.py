"""Which log is read, by which reader, and how its columns map onto the canonical ones."""

import codecs
import datetime as dt
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ray_userrep.recipe.settings import Settings

Order = Literal["time", "row"]
TimestampUnit = Literal["d", "s", "ms", "us", "ns"]
SideColumn = Literal["domain", "event", "category", "rating", "price", "review", "summary"]


class LayoutConfig(Settings):
    """How delimited text is laid out, where that differs from what its first line shows."""

    separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between two fields: tab, blank (any number of them), or characters such as ; or ::; "
        "none: recognised",
    )
    header: bool | None = Field(
        None,
        description="whether the first line names the columns; false: they are named 0, 1, 2, … in logs.columns; "
        "none: recognised",
    )
    skip_lines: int = Field(0, ge=0, description="lines before the header, or before the first row")
    quote: Literal["auto", "double", "single", "none"] = Field(
        "auto", description="marks around fields that hold separators; auto: double ones, none where tabs separate"
    )
    decimal: Literal["auto", "point", "comma"] = Field(
        "auto", description="sign in numbers such as 12,50; auto: a comma where no number of the first rows has a point"
    )
    encoding: str | None = Field(
        None, min_length=1, description="such as latin-1, cp1252 or utf-16; none: UTF-8, UTF-16 where it shows"
    )

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str | None) -> str | None:
        if value is not None and any(char in "\r\n\0\"'" or char.isalnum() for char in _spelled(value)):
            raise ValueError(f"logs.layout.separator: takes tab, blank or signs such as ; or :: (given {value!r})")
        return value if value is None else _spelled(value)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            "".encode(value)  # not all that Python calls codecs are of text
            return codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError(
                f"logs.layout.encoding: {value!r} is none that is known; it takes names such as latin-1, cp1252, utf-16"
            ) from None


def _spelled(separator: str) -> str:
    """A separator as it stands in a file, from the words and escapes for what a shell hardly lets through."""
    named = {"tab": "\t", "\\t": "\t", "blank": " \t", "blanks": " \t", "space": " \t", " ": " \t"}
    return named.get(separator, separator)


class LogsConfig(Settings):
    """Where the interaction log is and how to read it."""

    uri: str | None = Field(
        None,
        min_length=1,
        description="folder, file or pattern (*) of the raw log; none: Online Retail, from the package",
    )
    items: str | None = Field(
        None, min_length=1, description="table of items of a log of plain tables; none: items.* beside the log"
    )
    users: str | None = Field(
        None, min_length=1, description="table of users of a log of plain tables; none: users.* beside the log"
    )
    images: str | None = Field(
        None,
        min_length=1,
        description="folder, tar or zip of pictures named by item id, as 123.jpg; none: the table of items may have a "
        "column image of their bytes",
    )
    events: dict[str, str] = Field(
        default_factory=dict,
        description='event -> file, folder or pattern in the log\'s folder, e.g. {"view": "views.csv", "purchase": '
        '"orders-*.csv"}; none: the log has a column for it, or no events',
    )
    reader: str | None = Field(
        None, min_length=1, description="raw layout (a module of logs/readers); none: recognised from the files"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description='canonical -> source column, of the log and of tables beside it, e.g. {"user_id": "InvoiceNo"}; '
        "the default is the names the reader knows",
    )
    layout: LayoutConfig = Field(default_factory=LayoutConfig)
    order: Order = Field(
        "time",
        description="what a user's interactions are ordered by; row: the log has no times, files are taken by name and "
        "their rows as they stand",
    )
    timestamp_unit: TimestampUnit = Field("s", description="unit of timestamps that are numbers; d: days")
    timestamp_origin: dt.date | None = Field(
        None, description="day from which numbers count; none: 1970-01-01; spreadsheets count days from 1899-12-30"
    )
    timestamp_format: str | None = Field(None, description="strptime format of text timestamps; none: ISO 8601")
    ids: Literal["auto", "string"] = Field(
        "auto",
        description="auto: whole numbers are int64, all else text; string: all are text, which ids such as 00123 need",
    )
    side_columns: list[SideColumn] | None = Field(
        None, description='optional columns to read, e.g. ["domain"]; none: all that the log has; []: no such column'
    )
    from_date: dt.date | None = Field(
        None,
        description="first day to read: by dated folders (date=2024-01-31) where there are, else by UTC timestamp",
    )
    to_date: dt.date | None = Field(None, description="last day to read, itself included")
    max_quarantined_share: float = Field(
        0.05, ge=0, le=1, description="share of damaged rows, or of files lost to damage, above which preparing stops"
    )

    max_unmatched_share: float = Field(
        0.99,
        ge=0,
        le=1,
        description="share of the log's items or users that a table beside it may lack; above, preparing stops",
    )

    @model_validator(mode="after")
    def _range(self) -> "LogsConfig":
        if self.from_date is not None and self.to_date is not None and self.from_date > self.to_date:
            raise ValueError(f"logs.from_date {self.from_date} is after logs.to_date {self.to_date}")
        return self

    @model_validator(mode="after")
    def _of_a_log(self) -> "LogsConfig":
        asked = {"logs.items": self.items, "logs.users": self.users, "logs.events": self.events or None}
        named = next((name for name, value in asked.items() if value is not None), None)
        if self.uri is None and named is not None:
            raise ValueError(f"{named} goes with a log of your own: name it with --logs")
        if self.events and "event" in self.columns:
            raise ValueError("logs.events and logs.columns event both say what was done: leave one of the two out")
        return self

    @model_validator(mode="after")
    def _without_times(self) -> "LogsConfig":
        asked = {
            "logs.columns timestamp": self.columns.get("timestamp"),
            "logs.timestamp_format": self.timestamp_format,
            "logs.timestamp_origin": self.timestamp_origin,
            "logs.from_date": self.from_date,
            "logs.to_date": self.to_date,
        }
        named = next((name for name, value in asked.items() if value is not None), None)
        if self.order == "row" and named is not None:
            raise ValueError(f"{named} is about times, which logs.order row does not read: leave one of the two out")
        return self


class SyntheticConfig(Settings):
    """How large a synthetic log is and what is planted in it; the same values give the same log.

    An item is a variant of a product of an interest, so `items` is a multiple of `interests` times `variants`.
    """

    interactions: int = Field(1_000_000, ge=2, description="rows of the log, exactly")
    users: int = Field(50_000, ge=1, le=2**31, description="users, each with at least min_length interactions")
    items: int = Field(10_000, ge=2, le=2**31, description="size of the catalogue")
    days: int = Field(30, ge=1, le=36_500, description="days that the log covers")
    start: dt.date = Field(dt.date(2024, 1, 1), description="first day")
    seed: int = Field(0, ge=0, description="decides everything that is drawn")
    files: int = Field(
        8, ge=1, le=100_000, description="files of a day and pieces of work; the rows do not depend on it"
    )
    domains: int = Field(1, ge=1, description="interests are dealt out to so many domains; more than one: folders")
    interests: int = Field(20, ge=1, description="groups of items; a user has one at a time")
    variants: int = Field(10, ge=1, description="variants of a product, which users come back to after `lag`")
    item_exponent: float = Field(1.0, ge=0, le=3, description="Zipf exponent of the products of an interest")
    length_exponent: float = Field(1.5, gt=1, description="Pareto exponent of user lengths; smaller: heavier tail")
    min_length: int = Field(3, ge=1, description="interactions of the shortest users")
    drift: float = Field(0.1, gt=0, le=1, description="chance that the interest is drawn anew")
    follow: float = Field(0.5, ge=0, lt=1, description="chance, where the interest stays, that the last item decides")
    lag: int = Field(16, ge=2, description="how many interactions back the variant is decided")
    echo: float = Field(0.8, ge=0, lt=1, description="chance that the variant is that of `lag` interactions ago")

    @model_validator(mode="after")
    def _sizes(self) -> "SyntheticConfig":
        step = self.interests * self.variants
        if self.items % step:
            below = self.items // step * step or step
            raise ValueError(
                f"items {self.items} is not a multiple of interests {self.interests} x variants {self.variants}: "
                f"take {below} or {below + step}"
            )
        if self.interactions < self.users * self.min_length:
            raise ValueError(
                f"interactions {self.interactions} are too few for users {self.users} of min_length {self.min_length}"
            )
        if self.domains > self.interests:
            raise ValueError(f"domains {self.domains} are more than interests {self.interests}")
        return self
