"""What S3 and its look-alikes need apart: the filesystem, the conditional put, and errors in words.

pyarrow carries the bulk: it reads ranges in parallel without the interpreter's lock, and Ray speaks its filesystems;
but it reads no AWS_ENDPOINT_URL and cannot put conditionally. s3fs does both and moves bulk slowly. Each does its part,
with the same endpoint, region and credential chain.
"""

import os
from functools import lru_cache

import pyarrow.fs as pafs

ATTEMPTS = 10  # three, the default, give up on a store that asks to slow down

_ALREADY_THERE = ("PreconditionFailed", "ConditionalRequestConflict")

_BROKEN_OFF = "AWS Error INTERNAL_FAILURE"
_NO_PERMISSION = "no permission: check the AWS credentials and the bucket's policy"
_NO_BUCKET = "there is no such bucket: create it, or correct the URI"
_UNKNOWN_KEY = "the store does not know these credentials: check AWS_ACCESS_KEY_ID"
_BAD_SECRET = "the store refuses the signature: check AWS_SECRET_ACCESS_KEY"
_NO_ANSWER = "the store does not answer: check AWS_ENDPOINT_URL and the network"
_MEANINGS = {
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "NoSuchBucket": _NO_BUCKET,
    "ACCESS_DENIED": _NO_PERMISSION,
    "AccessDenied": _NO_PERMISSION,
    "INVALID_ACCESS_KEY_ID": _UNKNOWN_KEY,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "SIGNATURE_DOES_NOT_MATCH": _BAD_SECRET,
    "SignatureDoesNotMatch": _BAD_SECRET,
    "NETWORK_CONNECTION": _NO_ANSWER,
    "Could not connect to the endpoint": _NO_ANSWER,
    "Unable to locate credentials": "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or a profile",
    "HTTP status 411": "the store refuses uploads with trailing checksums: set "
    "AWS_REQUEST_CHECKSUM_CALCULATION=when_required in the environment before the job starts",
}


def filesystem(bucket: str) -> pafs.FileSystem:
    """pyarrow's S3 filesystem for a bucket."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return _filesystem(bucket, _endpoint(), region)


def put_exclusive(bucket: str, key: str, data: bytes) -> None:
    """Put an object unless there is one.

    Raises:
        FileExistsError: somebody was first.
    """
    # Imported here: loading an encoder needs this module, and no conditional put.
    import s3fs

    store = s3fs.S3FileSystem(
        endpoint_url=_endpoint(),
        config_kwargs={
            "retries": {"max_attempts": ATTEMPTS, "mode": "standard"},
            "s3": {"addressing_style": "path" if _endpoint() else "auto"},
        },
        skip_instance_cache=True,  # credentials may have changed since
    )
    try:
        store.pipe_file(f"{bucket}/{key}", data, mode="create")
    except OSError as error:
        answer = error.__cause__ or error  # s3fs makes errno's of the store's answers
        if any(code in str(answer) for code in _ALREADY_THERE):
            raise FileExistsError(f"s3://{bucket}/{key}") from error
        raise answer from None


def is_broken_off(error: OSError) -> bool:
    """Whether the body of an answer ended early: pyarrow's own retries end where a body begins."""
    return _BROKEN_OFF in str(error)


def meaning(error: Exception) -> str | None:
    """What an error of pyarrow's or s3fs's tells a user to do, None where it is not the user's."""
    text = str(error)
    return next((meaning for sign, meaning in _MEANINGS.items() if sign in text), None)


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


@lru_cache(maxsize=32)
def _filesystem(bucket: str, endpoint: str | None, region: str | None) -> pafs.FileSystem:
    if region is None and endpoint is None:
        region = pafs.resolve_s3_region(bucket)
    # The standard strategy stops retrying altogether once a few hundred requests of a process have failed.
    retries = pafs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS)
    return pafs.S3FileSystem(endpoint_override=endpoint, region=region or "us-east-1", retry_strategy=retries)
