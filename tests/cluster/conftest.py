"""The files of `cluster/` with their words in capitals filled in, as a user would."""

from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
FILLED = {
    "ACCOUNT_ID": "123456789012",
    "REGION": "us-west-2",
    "AMI_ID": "ami-0123456789abcdef0",
    "BUCKET": "my-bucket",
    "REDIS_HOST": "redis.example",
}


@pytest.fixture(scope="session")
def filled():
    """Reads a YAML or JSON file of `cluster/`."""

    def read(name: str):
        text = (CLUSTER / name).read_text()
        for word, value in FILLED.items():
            text = text.replace(word, value)
        return yaml.safe_load(text)

    return read
