"""Drawing the page of a run again, from what the run stored and nothing else."""

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.report.pages import continual, data, pretrain, scaling, text, transfer
from ray_userrep.report.results import as_stored, load_result

_DRAW = {
    "prepare": data.draw,
    "pretrain": pretrain.draw,
    "pretrain text": text.draw,
    "evaluate": pretrain.draw,
    "transfer": transfer.draw,
    "continual": continual.draw,
    "scale": scaling.draw,
}


def run_report(folder: str) -> str:
    """Write the page of a run, a study or a corpus again; returns its place.

    Raises:
        UserError: there is no result in the folder, it is not what a job wrote, or its job has no page.
    """
    with as_stored(folder):
        job = load_result(folder)["job"]
        if job not in _DRAW:
            raise UserError(f"{folder} is a run of {job}, which has no page; {', '.join(_DRAW)} have one")
        uri = _DRAW[job](storage.absolute(folder))
    print(f"report    {uri}")
    return uri
