"""What becomes of encoders: one that was adapted is kept in plain weights with its head, each asked for look-alikes.

Weights of fits that lost are dropped as soon as that is known, so that no more than two fits' are ever there.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ray_userrep import storage
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.statistics import Interval
from ray_userrep.recipe.encoder import ReadoutKind
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import TransferConfig
from ray_userrep.transfer.arms.base import Arm, copied
from ray_userrep.transfer.fit import FitSpec, Outcome, adapted_model, drop_weights
from ray_userrep.transfer.labels import UserLabels
from ray_userrep.transfer.model import ENCODER
from ray_userrep.transfer.predictions import keep_head
from ray_userrep.transfer.tasks.attribute import AttributeTask
from ray_userrep.transfer.tasks.base import Task

_FOLDER = "models"


class _Candidate(NamedTuple):
    arm: Arm
    fit: FitSpec
    validation: float
    uri: str


class Keeper:
    """Is offered every fit of a task and keeps the weights of the one to export.

    `sign` is -1 where a smaller validation figure is better.
    """

    def __init__(self, config: TransferConfig, sign: int = 1) -> None:
        self._keep, self._sign = config.keep, sign
        self._share = max(config.label_shares)
        self._best: _Candidate | None = None
        self._merged_not: dict[str, float] = {}  # the best validation figures of arms that cannot be merged

    def offer(self, arm: Arm, fit: FitSpec, outcome: Outcome, fit_uri: str) -> None:
        """Keep a fit's weights if they are the best so far, and drop the others'."""
        if fit.share == self._share and not arm.mergeable:
            values = outcome.validation, self._merged_not.get(arm.name, outcome.validation)
            self._merged_not[arm.name] = max(values, key=self._gain)
        is_meant = fit.share == self._share and arm.mergeable and self._keep in ("best", arm.name)
        if not is_meant or not self._is_better(outcome.validation):
            drop_weights(fit_uri)
            return
        if self._best is not None:
            drop_weights(self._best.uri)
        self._best = _Candidate(arm, fit, outcome.validation, fit_uri)

    def _gain(self, validation: float) -> float:
        return self._sign * validation

    def _is_better(self, validation: float) -> bool:
        return self._best is None or self._gain(validation) > self._gain(self._best.validation)

    def export(
        self, recipe: Recipe, encoder_of: Callable[[int], UserEncoder], task: Task, run_uri: str, device: str
    ) -> dict[str, Any] | None:
        """Write `<run>/models/<task>`; returns what it is of, and which arms that cannot be written did better.

        `encoder_of`: what the fits of a seed start from. A task over labels also has a head, with predictions.
        """
        if self._best is None:
            return None
        arm, fit, validation, fit_uri = self._best
        model_uri = storage.join(run_uri, _FOLDER, task.name.replace(" ", "_"))
        uri = storage.join(model_uri, ENCODER)
        adapted, objective = adapted_model(recipe, encoder_of(fit.seed), task, arm, fit, fit_uri)
        with tempfile.TemporaryDirectory() as scratch:
            adapted.save_pretrained(Path(scratch) / "encoder")
            storage.upload_dir(str(Path(scratch) / "encoder"), uri)
        made_of = {
            "task": task.name,
            "arm": arm.name,
            "seed": fit.seed,
            "learning_rate": fit.learning_rate,
            "readout": adapted.readout,
            "validation": validation,
        }
        head = None
        if isinstance(task, AttributeTask):
            assert isinstance(objective, UserLabels)
            adapted.to(device)  # type: ignore[arg-type]
            head = keep_head(task, adapted, objective.to(device), made_of, model_uri, run_uri)
        better = [name for name, value in self._merged_not.items() if self._gain(value) > self._gain(validation)]
        return made_of | {"uri": uri, "head": head, "better": better}


def look_alikes(
    task: Task, encoder: UserEncoder, readouts: Sequence[ReadoutKind], kept: dict[str, Any] | None, confidence: float
) -> dict[str, dict[str, Interval]]:
    """Look-alike retrieval by the pretrained encoder, at each readout, and by the one that was kept."""
    if not isinstance(task, AttributeTask):
        return {}
    encoders = {}
    for readout in readouts:
        encoders[f"pretrained, {readout}"] = other = copied(encoder)
        other.read_at(readout)
    if kept is not None:
        adapted = UserEncoder.from_pretrained(kept["uri"])
        encoders[f"adapted by {kept['arm']}"] = adapted.to(encoder.device)  # type: ignore[arg-type]
    return task.look_alikes(encoders, confidence)


def refuse_unmergeable(recipe: Recipe, arms: Sequence[Arm]) -> None:
    """Refuse to keep what cannot be written as an encoder.

    Raises:
        UserError: that was asked for.
    """
    for arm in arms:
        if arm.name == recipe.transfer.keep and not arm.mergeable:
            names = ", ".join(other.name for other in arms if other.mergeable)
            raise UserError(
                f"transfer.keep {arm.name}: it adds parts that an encoder's plain weights have no place for: "
                f"name one of {names or 'the arms that add none'}, or best"
            )
