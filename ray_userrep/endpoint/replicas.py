"""The replicas behind the door as one, of which some may die or be replaced.

Apart from their code, so that the door's process loads no model library.
"""

from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from ray_userrep.endpoint.forms import About, Answer, Ask
from ray_userrep.endpoint.refusals import Unavailable

_TRIES = 3


class Replicas:
    """The replicas as one, of which some may die or be replaced."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def answer(self, ask: Ask) -> Answer:
        """What a replica answers, the next one if the first dies."""
        answer: Answer = await self._tried("answer", ask)
        return answer

    async def about(self) -> About:
        """What the encoder reads."""
        about: About = await self._tried("about")
        return about

    async def _tried(self, method: str, *given: Any) -> Any:
        for _ in range(_TRIES):
            try:
                return await getattr(self._handle, method).remote(*given)
            except RayActorError:
                continue
            except (BackPressureError, DeploymentUnavailableError):
                break
        raise Unavailable("no replica could answer just now: send the request again")
