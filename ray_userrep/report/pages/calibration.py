"""What a transfer's page says of the scores of the head that was kept: whether they mean what they say."""

from ray_userrep.report import figures
from ray_userrep.report.page import drawing, remark
from ray_userrep.report.results import Result


def section(task: Result) -> str:
    """The reliability of the test users' scores, before and after their temperature was set on validation."""
    found = task["kept"]["head"]["calibration"]
    lines: dict[str, figures.Curve] = {
        name: ([one["told"] for one in bins], [one["true"] for one in bins])
        for name, bins in found["reliability"].items()
    }
    lines |= {"as told": ([0.0, 1.0], [0.0, 1.0])}
    drawn = drawing(
        lambda: figures.curves({"share that has it": lines}, "probability told"),
        f"{task['users']['test']:,} test users in ten bins of what they were told, before and after calibration.",
    )
    brier = found["brier"]
    note = (
        f"Brier score {brier['before']:.4f} before, {brier['after']:.4f} after; less is better. Temperatures "
        f"({_temperatures(found)}) are chosen on the validation users and leave the order of the scores as it is."
    )
    return drawn + remark(note)


def sentence(head: Result) -> str:
    """Where scores are, and whether there is a model to make more of them."""
    if head["model"] is None:
        return f"scores in {head['predictions']}; its head reads columns beside the vector and is not written"
    return f"with its head for ray-userrep predict, scores in {head['predictions']}"


def _temperatures(found: Result) -> str:
    numbers = found["temperatures"]
    return f"{numbers[0]:.2f}" if len(numbers) == 1 else f"{min(numbers):.2f} to {max(numbers):.2f}"
