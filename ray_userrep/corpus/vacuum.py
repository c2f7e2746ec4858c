"""Deleting what no kept version of a corpus needs: files of older versions, and what crashes have left.

A job that writes takes no lock, and none is asked for; two rules keep what it is about to publish. Whatever builds on
an existing version begins with the newest one, and the newest one is always kept: of two that were begun on the same
version only the first is published. And a build that no version names yet is deleted only when nothing was written in
it for a week, be it that the next preparation would go on with it. Ages are told by this machine's clock, which need
not agree with the store's to the hour.

Manifests go first, so that nobody opens a version whose files are going; a deletion that dies is finished by the next.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ray_userrep import storage
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.store import manifest_uri, open_corpus, versions
from ray_userrep.errors import UserError
from ray_userrep.recipe.upkeep import VacuumConfig

_DATA = "data"


class Waste(NamedTuple):
    """What can go: versions, files by the build that they are in, and builds that may be somebody's yet."""

    versions: list[int]
    files: dict[str, list[storage.FileEntry]]
    emptied: list[str]  # builds of which nothing stays
    left: dict[str, str]  # build -> why it stays

    @property
    def num_bytes(self) -> int:
        """The size of all the files."""
        return sum(entry.size for entries in self.files.values() for entry in entries)


def vacuum(uri: str, config: VacuumConfig) -> Waste:
    """Delete what the newest versions of a corpus do not need, or only find it; returns what it is.

    Raises:
        UserError: there is no corpus, a version that is to be kept cannot be read, or one was published meanwhile.
    """
    uri = storage.absolute(uri)
    known = versions(uri)
    if not known:
        raise UserError(f"no corpus at {uri}")
    kept, dropped = known[-config.keep :], known[: -config.keep]
    found = _waste(uri, kept, dropped, config.hours)
    if config.dry_run:
        return found
    if versions(uri) != known:
        raise UserError(f"{uri} got another version meanwhile: vacuum it again")
    for version in dropped:
        storage.delete(manifest_uri(uri, version))
    for note, build in _notes(uri).items():
        if build in found.emptied:
            storage.delete(note)
    for entries in found.files.values():
        for entry in entries:
            storage.delete(entry.uri)
    for build in found.emptied:
        storage.delete(storage.join(uri, build))  # a disk keeps folders without files
    return found


def files_of(manifest: Manifest) -> Iterator[str]:
    """The paths of all files that a version reads."""
    yield from manifest.tables()
    for file in manifest.sequences:
        yield from (file.path, outline_path(file.path))


def _waste(uri: str, kept: list[int], dropped: list[int], hours: float) -> Waste:
    needed = {path for version in kept for path in files_of(open_corpus(uri, version).manifest)}
    published = {_build(path) for version in dropped for path in _named(uri, version)}
    published |= {_build(path) for path in needed}
    builds = defaultdict[str, list[storage.FileEntry]](list)
    for entry in storage.list_files(storage.join(uri, _DATA), hidden=True):
        builds[_build(entry.uri.removeprefix(f"{uri}/"))].append(entry)
    found = Waste(dropped, {}, [], {})
    for build, entries in builds.items():
        useless = [entry for entry in entries if entry.uri.removeprefix(f"{uri}/") not in needed]
        reason = None if build in published else _reason(entries, hours)
        if reason is not None:
            found.left[build] = reason
        elif useless:
            found.files[build] = useless
            found.emptied.extend([build] if len(useless) == len(entries) else [])
    return found


def _named(uri: str, version: int) -> Iterator[str]:
    """What an older version reads; nothing of one that cannot be read any more, whose files go by their age."""
    try:
        manifest = open_corpus(uri, version).manifest
    except UserError:
        return
    yield from files_of(manifest)


def _build(path: str) -> str:
    return "/".join(path.split("/")[:2])


def _notes(uri: str) -> dict[str, str]:
    """The notes of unfinished preparations, and the builds that they lead to."""
    folder = storage.join(uri, "unfinished")
    notes = storage.list_files(folder, ".json") if storage.exists(folder) else []
    return {note.uri: str(storage.read_object(note.uri).get("folder")) for note in notes}


def _reason(entries: list[storage.FileEntry], hours: float) -> str | None:
    """Why a build that no version names has to stay; None where it need not."""
    age = time.time() - max(entry.written or time.time() for entry in entries)
    if age < hours * 3600:
        return f"no version names it, and something was written in it {age / 3600:.1f} hours ago"
    return None
