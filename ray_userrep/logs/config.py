"""Which log is read, by which reader, and how its columns map onto the canonical ones."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TimestampUnit = Literal["s", "ms", "us", "ns"]


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
