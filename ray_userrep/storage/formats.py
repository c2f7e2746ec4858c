"""What a later version of this package wrote is refused by its format, in place of being read as something else."""

from typing import Any

from ray_userrep.errors import UserError


def refuse_newer(found: Any, known: int, what: str) -> None:
    """Refuse a format above the one that is known; what was stored without one is of the first.

    Raises:
        UserError: it is; the message says what it is of.
    """
    if isinstance(found, int) and found > known:
        raise UserError(
            f"{what} has format {found}, this ray_userrep reads up to {known}: it was written by a newer one, which is "
            "needed to read it"
        )
