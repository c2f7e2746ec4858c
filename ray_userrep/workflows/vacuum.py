"""Deleting what no kept version of a corpus needs, and saying what went and what stays."""

from ray_userrep import storage
from ray_userrep.corpus.vacuum import Waste, vacuum
from ray_userrep.recipe.upkeep import VacuumConfig
from ray_userrep.report.results import Result


def run_vacuum(uri: str, config: VacuumConfig) -> Result:
    """Vacuum a corpus and print what went, or would go, with its size.

    Raises:
        UserError: there is no corpus, or it got another version meanwhile.
    """
    uri = storage.absolute(uri)
    found = vacuum(uri, config)
    print(told(found, config.dry_run))
    counts = {build: len(entries) for build, entries in found.files.items()}
    return {"job": "vacuum", "corpus": uri, "versions": found.versions, "files": counts, "bytes": found.num_bytes}


def told(found: Waste, dry_run: bool) -> str:
    """What goes and what stays, a line a build."""
    does = "would delete" if dry_run else "deleted"
    numbers = ", ".join(map(str, found.versions)) or "none"
    num_files = sum(map(len, found.files.values()))
    lines = [f"vacuum    {does} versions: {numbers}; {num_files:,} files, {found.num_bytes:,} bytes"]
    for build, entries in found.files.items():
        lines.append(f"          {build}  {len(entries):,} files, {sum(entry.size for entry in entries):,} bytes")
    lines += [f"left      {build}: {reason}" for build, reason in found.left.items()]
    return "\n".join(lines)
