"""Which log is read, by which reader, and how its columns map onto the canonical ones."""

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TimestampUnit = Literal["s", "ms", "us", "ns"]
SideColumn = Literal["domain", "event", "category", "rating", "price"]


class LogsConfig(BaseModel):
    """Where the interaction log is and how to read it."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(None, description="folder or file with the raw log; empty: the embedded Online Retail data")
    reader: str | None = Field(
        None, description="raw layout (a module of logs/readers); empty: recognised from the files"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description='canonical -> source column, e.g. {"user_id": "InvoiceNo"}; empty: the names the reader knows',
    )
    timestamp_unit: TimestampUnit = Field("s", description="unit of integer timestamps")
    timestamp_format: str | None = Field(None, description="strptime format of text timestamps; empty: ISO 8601")
    ids: Literal["auto", "string"] = Field(
        "auto",
        description="auto: whole numbers are int64, all else text; string: text, for ids that are partly numbers",
    )
    side_columns: list[SideColumn] | None = Field(
        None, description='optional columns to read, e.g. ["domain"]; null: all that the log has; []: none'
    )
    from_date: dt.date | None = Field(
        None,
        description="first day to read: by dated folders (date=2024-01-31) where there are, else by UTC timestamp",
    )
    to_date: dt.date | None = Field(None, description="last day to read, itself included")
    max_quarantined_share: float = Field(
        0.05, ge=0, le=1, description="share of damaged rows, or of files lost to damage, above which preparing stops"
    )

    @model_validator(mode="after")
    def _range(self) -> "LogsConfig":
        if self.from_date is not None and self.to_date is not None and self.from_date > self.to_date:
            raise ValueError(f"logs.from_date {self.from_date} is after logs.to_date {self.to_date}")
        return self
