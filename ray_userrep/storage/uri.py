"""Places: local paths, `file://`, `s3://` and other schemes as text, without opening anything."""

import os

from ray_userrep.errors import UserError


def is_local(uri: str) -> bool:
    """Whether a URI means this machine's own disk."""
    return "://" not in uri or uri.startswith("file://")


def absolute(uri: str) -> str:
    """The same place independent of the working directory; other schemes stay as they are, less a final slash."""
    if is_local(uri):
        return os.path.abspath(os.path.expanduser(uri.removeprefix("file://")))
    return uri.rstrip("/")


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
