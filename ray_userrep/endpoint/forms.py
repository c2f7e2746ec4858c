"""What is asked of an endpoint and answered; what is posted is read in one pass and refused at the first mistake.

Types are strict: a number is not taken for a text, nor a text for a number, since ids of both kinds exist.
"""

import reprlib
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import ErrorDetails

from ray_userrep.errors import UserError


class _AtFirst(FailFast):
    """Stops at the first mistake, however many there are; pydantic's own cannot be hashed, as parts of unions are."""

    __hash__ = object.__hash__


Id = Annotated[int, Field(ge=-(2**63), lt=2**63)] | str
Ids = Annotated[list[Id], _AtFirst()]
Times = Annotated[list[str], _AtFirst()]
Values = Annotated[list[Annotated[float, Field(allow_inf_nan=False)] | str], _AtFirst()]
_BRANCHES = ("int", "constrained-int", "float", "constrained-float", "str")  # marks of the parts of a union
_UNTIL = "the moment up to which days are counted, as 2024-03-01T12:00:00Z; only encoders with encoder.tempo want it"


class Form(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Histories(Form):
    """One list a user, and what the encoder reads of interactions beside their items."""

    histories: Annotated[list[Ids], _AtFirst()] = Field(min_length=1, description="item ids of each user, newest last")
    timestamps: Annotated[list[Times], _AtFirst()] | None = Field(
        None, description="times beside the items, as 2024-03-01T12:00:00Z; all with a zone or all without (UTC)"
    )
    side: dict[str, Annotated[list[Values], _AtFirst()]] = Field(
        default_factory=dict,
        alias="fields",
        description="what else is read, by name, as price; of users a list of one",
    )

    def lengths(self) -> list[int]:
        """The number of interactions of each history."""
        return [len(row) for row in self.histories]


class DatedForm(Histories):
    """Histories as of a moment, where the encoder counts days up to one."""

    until: str | None = Field(None, description=_UNTIL)


class VectorsForm(DatedForm):
    """Whose vectors are asked for."""


class PredictForm(DatedForm):
    """Whose scores by the model of a label are asked for."""


class RecommendForm(Histories):
    """Whose likeliest next items are asked for."""

    k: int = Field(10, ge=1, description="items for each history")
    exclude_seen: bool = Field(True, description="whether items of the history are left out")


class AlikeForm(DatedForm):
    """Who is to be found whose vectors are nearest to those of histories."""

    k: int = Field(10, ge=1, description="users for each history")


class NewerForm(Form):
    """What a user did since the stored vector was made; nothing is fine."""

    items: Ids = Field(default_factory=list, description="item ids, newest last")
    timestamps: Times | None = Field(None, description="times beside the items, as 2024-03-01T12:00:00Z")
    until: str | None = Field(None, description=_UNTIL)

    def lengths(self) -> list[int]:
        """The number of interactions, as of one history."""
        return [len(self.items)]


class Nearest(NamedTuple):
    """An item, in the words of an address, and how many like it are asked for."""

    item: str
    k: int


class NearestUsers(NamedTuple):
    """A user of the index, in the words of an address, and how many alike are asked for."""

    user: str
    k: int


class Newer(NamedTuple):
    """A user, in the words of an address, and what is new."""

    user: str
    form: NewerForm


class About(NamedTuple):
    """What a caller wants to know of an encoder; what is predicted is None without a model, empty for values."""

    encoder: str
    items: int
    width: int
    users: int
    ids_are_numbers: bool
    reads_times: bool
    reads_until: bool
    reads_fields: tuple[str, ...]
    predicts: tuple[str, ...] | None
    indexed_users: int


Ask = VectorsForm | PredictForm | AlikeForm | RecommendForm | Nearest | NearestUsers | Newer
Answer = bytes | Exception  # JSON, or why there is none
Kind = TypeVar("Kind", VectorsForm, PredictForm, AlikeForm, RecommendForm, NewerForm)


def read_form(kind: type[Kind], body: bytes) -> Kind:
    """The form that a body holds.

    Raises:
        UserError: it is no JSON, or not this form; the message names the first place that is wrong.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise UserError(_explained(error)) from None


def _explained(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False, include_context=False)
    where = _place(first)
    if first["type"] in ("json_invalid", "missing"):
        return f"{where}: {first['msg']}"
    branches = [other["msg"].removeprefix("Input should be ") for other in others if _place(other) == where]
    return f"{where}: {' or '.join([first['msg'], *branches])} (given {reprlib.repr(first['input'])})"


def _place(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"] if part not in _BRANCHES) or "the body"
