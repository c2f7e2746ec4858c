"""Encoders on the Hugging Face hub: a repository there holds what the folder of an encoder holds, with its card.

A push replaces weights, items and card, also parts of larger weights, which would be read in their place: what was
there before is in the repository's history. Whatever the hub refuses is one line that names the repository.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import CommitInfo, HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from ray_userrep import storage
from ray_userrep.errors import UserError

_REPOSITORY = re.compile(r"[\w-]+(\.[\w-]+)*/[\w-]+(\.[\w-]+)*")
_OLD = ["model*.safetensors*", "items/*", "graph/*"]
_SHOWN = 200  # characters of a reason
# The errors of whichever HTTP client the hub's library has.
_FAILED: tuple[Any, ...] = (*HfHubHTTPError.__bases__, HFValidationError, LocalEntryNotFoundError)


def from_hub(named: str, revision: str | None) -> str:
    """A local copy of a repository of the hub, given as `org/name` where no such folder is here; else what was given.

    Raises:
        UserError: there is neither.
    """
    if not _REPOSITORY.fullmatch(named) or storage.exists(named):
        return named
    with _refusals(f"no encoder at {named}: there is no such folder, and the hub gave none"):
        return snapshot_download(named, revision=revision)


def to_hub(
    folder: str,
    repo_id: str,
    private: bool | None,
    commit_message: str,
    revision: str | None,
    token: str | bool | None,
    create_pr: bool,
) -> CommitInfo:
    """Make a repository hold the encoder of a local folder; it and the branch `revision` are made where there are none.

    Raises:
        UserError: the hub refuses.
    """
    # The endpoint is read now: who sets HF_ENDPOINT later than the import means it, too.
    hub = HfApi(endpoint=constants.ENDPOINT, token=token)
    with _refusals(f"push_to_hub: {repo_id} was not written"), warnings.catch_warnings():
        # The table of items is a part of the model.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not create_pr:
            hub.create_branch(repo_id, branch=revision, exist_ok=True)
        return hub.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            delete_patterns=_OLD,
        )


@contextmanager
def _refusals(told: str) -> Iterator[None]:
    try:
        yield
    except _FAILED as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        raise UserError(f"{told} ({reason})") from error
