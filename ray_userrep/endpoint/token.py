"""The token that requests bring: out of the environment or a file, never from the command line, where others see it."""

import ipaddress
import os

from ray_userrep import storage
from ray_userrep.endpoint.gate import digest_of
from ray_userrep.errors import UserError
from ray_userrep.recipe.serve import ServeConfig

VARIABLE = "RAY_USERREP_TOKEN"
_SHORTEST = 16


def token_digest(config: ServeConfig, is_open: bool) -> str | None:
    """The digest of the token, None where there is none; `is_open`: whether others than this machine can reach it.

    Raises:
        UserError: the token is given twice or too short, or there is none and others can reach the endpoint.
    """
    given = os.environ.get(VARIABLE)
    if config.token_file is not None:
        if given is not None:
            raise UserError(f"serve.token_file and {VARIABLE} are both given: which one is meant?")
        given = storage.read_text(config.token_file)
    if given is None:
        if is_open:
            raise UserError(f"serve.host: others can reach it: set a token, {VARIABLE} or serve.token_file")
        return None
    token = given.strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"the token takes {_SHORTEST} letters and digits or more, as `openssl rand -hex 16` makes them")
    return digest_of(token)


def is_open(host: str) -> bool:
    """Whether an address to listen on is another than this machine's own."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
