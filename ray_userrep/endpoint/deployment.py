"""An endpoint on Ray Serve: a door that reads and checks requests, and behind it replicas that hold the encoder.

The door is one small process, so that rates and counters are of the whole endpoint. Replicas answer the requests that
wait together in one forward pass. A replica that dies has answered nothing: its requests go to another. A new encoder
replaces replicas while the old ones go on answering, which takes room for as many more until they have.
"""

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from ray_userrep.encoder.folder import fingerprint, own_folder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.endpoint.alike import UsersAlike, check_index
from ray_userrep.endpoint.app import make_app
from ray_userrep.endpoint.engine import Engine
from ray_userrep.endpoint.forms import About, Answer, Ask
from ray_userrep.endpoint.replicas import Replicas
from ray_userrep.endpoint.scoring import served_model
from ray_userrep.endpoint.stored import StoredSums, check_stored
from ray_userrep.endpoint.token import token_digest
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import config_of
from ray_userrep.recipe.serve import ServeConfig

_AT_ONCE = 10_000  # requests in the door: those that wait are counted at the replicas
# Requests are not logged: addresses hold ids of users.
_QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)


@serve.deployment(logging_config=_QUIET)
class Encoders:
    """A replica: the encoder, and one thread that it computes in."""

    def __init__(self, encoder_uri: str, name: str, config: ServeConfig) -> None:
        warnings.simplefilter("ignore")  # of users without known items an answer says how many it has, which is none
        stored = None if config.vectors is None else StoredSums(config.vectors, name)
        model = None if config.model is None else served_model(config.model, encoder_uri)
        alike = None if config.index is None else UsersAlike(config.index, encoder_uri)
        self._engine = Engine(UserEncoder.from_pretrained(encoder_uri), name, stored, model, alike)
        self._thread = ThreadPoolExecutor(1)
        batched: Any = self.answer  # Ray's types do not tell of its settings
        batched.set_max_batch_size(config.batch_size)
        batched.set_batch_wait_timeout_s(config.batch_wait)

    @serve.batch
    async def answer(self, asks: list[Ask]) -> list[Answer]:
        """Answers in one forward pass; meanwhile the next requests gather."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.answer, asks)

    def about(self) -> About:
        """What the encoder reads."""
        return self._engine.about()


@serve.deployment(logging_config=_QUIET)
@serve.ingress()
class Door:
    """The process that speaks HTTP."""

    def __init__(self, encoders: DeploymentHandle[Any], config: ServeConfig, digest: str | None) -> None:
        self._app = make_app(Replicas(encoders), config, digest)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app


def application(encoder_uri: str, config: ServeConfig, digest: str | None) -> serve.Application:
    """The endpoint of the encoder in a folder."""
    scaled: dict[str, Any] = {"num_replicas": config.min_replicas}
    if config.max_replicas > config.min_replicas:
        bounds = {"min_replicas": config.min_replicas, "max_replicas": config.max_replicas}
        scaled = {"autoscaling_config": bounds | {"target_ongoing_requests": config.batch_size}}
    encoders = Encoders.options(  # type: ignore[attr-defined]
        **scaled,
        ray_actor_options={"num_cpus": config.cpus_per_replica, "num_gpus": config.gpus_per_replica},
        max_ongoing_requests=2 * config.batch_size,  # one batch is computed, the next gathers
        max_queued_requests=config.max_queued,
        max_surge_percent=100,
    ).bind(encoder_uri, fingerprint(encoder_uri), config)
    door = Door.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": 0}, max_ongoing_requests=_AT_ONCE, max_surge_percent=100
    )
    return door.bind(encoders, config, digest)


def refuse_others(config: ServeConfig, encoder_uri: str) -> None:
    """Refuse what another encoder has made.

    Raises:
        UserError: stored vectors, a model or an index are another's, or cannot be read.
    """
    if config.vectors is not None:
        check_stored(config.vectors, fingerprint(encoder_uri))
    if config.model is not None:
        served_model(config.model, encoder_uri)
    if config.index is not None:
        check_index(config.index, encoder_uri)


def build(args: dict[str, Any]) -> serve.Application:
    """What a Serve config file names, as the RayService of cluster/kuberay: `encoder` and fields such as `batch_size`.

    Raises:
        UserError: a field is wrong, what it names is another encoder's, or there is no token: such an endpoint listens
            on all of a pod's addresses.
    """
    texts = {name: str(value) for name, value in args.items()}
    if "encoder" not in texts:
        raise UserError("args: encoder is missing: name the folder of an encoder or of its run")
    encoder_uri = own_folder(texts.pop("encoder"))
    config = config_of(texts, ServeConfig, "serve.")
    refuse_others(config, encoder_uri)
    return application(encoder_uri, config, token_digest(config, is_open=True))
