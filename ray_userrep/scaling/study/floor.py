"""A law beside the least loss possible, where that is known, as on a synthetic log: does the fitted E hold it?

Where it does not, the law is fitted again without the smallest sizes: a backbone too small for what there is to learn
is not on one law with the others, and bends it. What stands in the report as the law stays the one of all runs; these
further fits are made with the answer known and say why it was missed, no more.
"""

from collections.abc import Sequence
from typing import Any

from ray_userrep.errors import UserError
from ray_userrep.scaling.law.law import study_law
from ray_userrep.scaling.study.rows import Row, law_points

_MOST_LEFT_OUT = 2


def beside_floor(rows: Sequence[Row], law: dict[str, Any] | None, nats: float) -> dict[str, Any]:
    """E of the study's law and of fits without the smallest sizes; whether its interval holds the floor."""
    sizes = sorted({row["size"] for row in rows})
    laws = [] if law is None else [_held([], law, nats)]
    for number in range(1, min(_MOST_LEFT_OUT, len(sizes) - 1) + 1) if laws else ():
        left_out = sizes[:number]
        try:
            told = study_law(law_points([row for row in rows if row["size"] not in left_out]))
        except UserError:  # too few runs are left
            break
        laws.append(_held(left_out, told, nats))
    return {"nats": nats, "laws": laws, "verdict": _verdict(nats, laws)}


def _held(left_out: Sequence[int], told: dict[str, Any], nats: float) -> dict[str, Any]:
    floor = told["law"]["constants"].get("E")
    known = floor is not None and None not in (floor["low"], floor["high"])
    inside = bool(known and floor["low"] <= nats <= floor["high"])
    count, form = told["points"]["count"], told["preferred"]
    return {"left_out": left_out, "runs": count, "E": floor, "inside": inside, "preferred": form}


def _verdict(nats: float, laws: Sequence[dict[str, Any]]) -> str:
    told = f"The least possible loss is {nats:.4f} nats."
    if not laws:
        return f"{told} The runs allow no law."
    if laws[0]["inside"]:
        return f"{told} The interval of the law's E holds it."
    missed = f"{told} The interval of the law's E does not hold it"
    for other in laws[1:]:
        if other["inside"]:
            sizes = " and ".join(f"{size:,}" for size in other["left_out"])
            return (
                f"{missed}; without size {sizes} it does: so small a backbone seems not to be on one law with the rest "
                "(a fit that was made with the answer known)."
            )
    return f"{missed}, nor does it without the smallest sizes."
