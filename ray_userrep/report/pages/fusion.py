"""What a transfer's page and console say of one question: does the vector add to what is known of users anyway?"""

from ray_userrep.report.page import Section, listing, remark
from ray_userrep.report.results import Result

_UNITS = {"auc": "AUC", "r2": "R²"}


def section(name: str, task: Result) -> Section:
    """Trees on columns, on the vector and on both, by share of the labels, under the sentence of the largest share."""
    fusion, metric = task["fusion"], task["headline"]
    systems = list(next(iter(fusion["shares"].values()))["metrics"])
    rows = [
        [f"{100 * float(share):g} %", *(_interval(at["metrics"][system][metric]) for system in systems), _added(at)]
        for share, at in fusion["shares"].items()
    ]
    columns = ", ".join(fusion["columns"]) or "none"
    note = (
        f"Boosted trees, {_UNITS[metric]}. Own columns are when and how often a user came, and of the table of users: "
        f"{columns}. The vector is the pretrained encoder's, frozen, of whole histories. Differences are paired over "
        "the same users; brackets: 95 % bootstrap intervals."
    )
    table = listing(["labels", *systems, "vector adds to columns"], rows)
    return Section(f"{name}: beside the columns you have", remark(sentence(task)) + table + remark(note))


def sentence(task: Result) -> str:
    """Whether the vector adds to trees on columns, at the largest share of the labels."""
    fusion = task["fusion"]
    added = fusion["shares"][max(fusion["shares"], key=float)]["over_columns"]
    known = "the columns you have" if fusion["columns"] else "when and how often users came"
    figures = f"{_signed(added)} {_UNITS[task['headline']]}"
    if added["low"] > 0:
        return f"The vector adds {figures} to trees on {known}."
    if added["high"] < 0:
        return f"The vector makes trees on {known} worse: {figures}."
    return f"The vector is not shown to add to trees on {known}: {figures}."


def thin_users(task: Result) -> str:
    """How many users have next to no history."""
    users = task["users"]
    return (
        f"Users without any history: {users['without_history']:,}, left out. "
        f"Users with a history of one interaction: {users['of_one']:,}."
    )


def _added(at: Result) -> str:
    return f"{_signed(at['over_columns'])}, p {at['over_columns']['p']:.3f}"


def _signed(found: Result) -> str:
    return f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _interval(found: Result) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
