"""An endpoint that answers over HTTP, on a Ray that is started here or on a cluster that stays."""

import logging
import os
import signal
import socket

from ray import serve

from ray_userrep import storage
from ray_userrep.encoder.folder import own_folder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.endpoint.deployment import application, refuse_others
from ray_userrep.endpoint.room import told_of_no_room
from ray_userrep.endpoint.token import is_open, token_digest
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect, refuse_unshared, running_here
from ray_userrep.recipe.serve import ServeConfig

NAME = "ray_userrep"


def run_serve(config: ServeConfig, encoder_uri: str) -> None:
    """Serve an encoder until the process is stopped; on a cluster that stays, start it or change its encoder.

    Raises:
        UserError: the encoder, stored vectors, a model or an index cannot be read or are another encoder's, the port
            is taken, or a token is missing.
    """
    encoder_uri = own_folder(storage.absolute(encoder_uri))
    digest = token_digest(config, is_open(config.host))
    UserEncoder.from_pretrained(encoder_uri)  # a folder that holds none is told of before anything is started
    config = _as_replicas_see(config)
    refuse_others(config, encoder_uri)  # before anything is started
    is_own = os.environ.get("RAY_ADDRESS", running_here()) == "local"
    if is_own:
        _refuse_taken(config)
    connect()
    refuse_unshared(encoder_uri, "encoder", "--encoder")
    for what, place in _places(config).items():
        refuse_unshared(place, what, f"--serve.{what}")
    start(config)
    with told_of_no_room(NAME, config):
        serve.run(application(encoder_uri, config, digest), name=NAME, route_prefix="/")
    print(f"encoder   {encoder_uri}")
    print(f"endpoint  http://{config.host}:{config.port}/  {'token wanted' if digest else 'no token'}")
    if is_own:
        print("ready     stop it with Ctrl-C", flush=True)
        while True:
            signal.pause()
    print("ready     it stays on the cluster: end it with `serve shutdown`, change the encoder by running this again")


def _places(config: ServeConfig) -> dict[str, str]:
    """What is served beside the encoder, by the name of its field."""
    named = {"vectors": config.vectors, "model": config.model, "index": config.index}
    return {what: place for what, place in named.items() if place is not None}


def _as_replicas_see(config: ServeConfig) -> ServeConfig:
    """The config with absolute places: replicas have working directories of their own."""
    return config.model_copy(update={what: storage.absolute(place) for what, place in _places(config).items()})


def start(config: ServeConfig) -> None:
    """Start Serve where it does not run yet: its address is that of the first endpoint."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    address = {"host": config.host, "port": config.port, "request_timeout_s": config.timeout}
    serve.start(http_options=address)


def _refuse_taken(config: ServeConfig) -> None:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((config.host, config.port))
        except OSError as error:
            raise UserError(f"serve.port: {config.host}:{config.port} cannot be listened on: {error}") from error
