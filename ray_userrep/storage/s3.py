"""What S3 and its look-alikes need apart: the filesystem, the conditional put, and errors in words.

pyarrow carries the bulk: it reads ranges in parallel without the interpreter's lock, and Ray speaks its filesystems;
but it reads no AWS_ENDPOINT_URL and cannot put conditionally. botocore does both and moves bulk slowly. Each does its
part, with the same endpoint, region and credential chain.
"""

import os
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow.fs as pafs

ATTEMPTS = 10  # three, the default, give up on a store that asks to slow down

_ANOTHER = ("PreconditionFailed", "ConditionalRequestConflict")
_NOTHING = "NoSuchKey"
_WHO = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")

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


class Version(NamedTuple):
    """What a file holds at a moment, which of its versions that is, and how old (s) by the clock of its store."""

    data: bytes
    tag: str
    age: float


def read_version(bucket: str, key: str) -> Version:
    """An object with its tag and its age.

    Raises:
        FileNotFoundError: there is none.
    """
    from botocore.exceptions import ClientError

    try:
        found = _client().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _code(error) == _NOTHING:
            raise FileNotFoundError(f"s3://{bucket}/{key}") from error
        raise
    now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
    return Version(found["Body"].read(), _tag(found), (now - found["LastModified"]).total_seconds())


def put_over(bucket: str, key: str, data: bytes, tag: str | None) -> str:
    """Put an object in place of the version with this tag, or where there is none; returns the tag of the new one.

    Raises:
        FileExistsError: somebody was first.
    """
    from botocore.exceptions import ClientError

    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        return _tag(_client().put_object(Bucket=bucket, Key=key, Body=data, **condition))
    except ClientError as error:
        if _code(error) in (*_ANOTHER, _NOTHING):
            raise FileExistsError(f"s3://{bucket}/{key}") from error
        raise


def _client() -> Any:
    return _client_of(_endpoint(), *map(os.environ.get, _WHO))


@lru_cache(maxsize=4)
def _client_of(endpoint: str | None, *_: str | None) -> Any:
    # Imported here: loading an encoder needs this module, and no conditional put.
    from botocore.config import Config
    from botocore.session import get_session

    settings = Config(
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return get_session().create_client("s3", endpoint_url=endpoint, config=settings)


def _tag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')  # Ceph compares it without its quotes


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def is_broken_off(error: OSError) -> bool:
    """Whether the body of an answer ended early: pyarrow's own retries end where a body begins."""
    return _BROKEN_OFF in str(error)


def meaning(error: Exception) -> str | None:
    """What an error of pyarrow's or botocore's tells a user to do, None where it is not the user's."""
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
