"""Places: local paths, `file://`, `s3://` and other schemes as text, without opening anything."""

import os

from ray_userrep.errors import UserError, refuse_secrets


def is_local(uri: str) -> bool:
    """Whether a URI means this machine's own disk."""
    return "://" not in uri or uri.startswith("file://")


def absolute(uri: str) -> str:
    """The same place independent of the working directory; other schemes stay as they are, less a final slash."""
    refuse_secrets(uri, "an address")
    if is_local(uri):
        return os.path.abspath(os.path.expanduser(uri.removeprefix("file://")))
    return uri.rstrip("/")


def home() -> str:
    """Where a job keeps what was given no place: `USERREP_HOME`, else the working directory.

    That of a submitted job is a copy that Ray deletes; there it is a folder in the user's home on that node.
    """
    if named := os.environ.get("USERREP_HOME"):
        return absolute(named)
    return os.path.expanduser("~/userrep") if _is_rays(os.getcwd()) else os.getcwd()


def kept(uri: str) -> str:
    """The place that a job writes to; a relative one is meant from `home` where Ray owns the working directory."""
    path = os.path.expanduser(uri.removeprefix("file://"))
    if is_local(uri) and not os.path.isabs(path) and _is_rays(os.getcwd()):
        return join(home(), os.path.normpath(path))
    return absolute(uri)


def _is_rays(folder: str) -> bool:
    return any(part.startswith("_ray_pkg_") for part in folder.split("/"))


def join(uri: str, *parts: str) -> str:
    """A place below another."""
    return "/".join([uri.rstrip("/") if uri != "/" else "", *(part.strip("/") for part in parts)])


def s3_parts(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI.

    Raises:
        UserError: it names no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not bucket:
        raise UserError(f"{uri}: an S3 URI names a bucket: s3://BUCKET/FOLDER")
    return bucket, key
