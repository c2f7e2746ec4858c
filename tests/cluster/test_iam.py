"""The policies allow what Ray and the jobs ask AWS for, by name, on what is ours."""

import botocore.session
import pytest
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME

# Actions of S3 that are called otherwise than what is requested.
OF_S3 = {"ListBucket": "ListObjectsV2", "ListBucketMultipartUploads": "ListMultipartUploads"}
OF_S3 |= {"ListMultipartUploadParts": "ListParts"}
UNREQUESTED = {"iam:PassRole"}  # what a request of EC2 implies


def statements(filled, name):
    policy = filled(f"iam/{name}.json")
    assert policy["Version"] == "2012-10-17"
    assert all(one["Effect"] == "Allow" and one["Sid"].isalnum() for one in policy["Statement"])
    return policy["Statement"]


def listed(value):
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("name", ["node", "head"])
def test_every_action_is_one_that_aws_has_and_none_stands_for_many(filled, name):
    session = botocore.session.get_session()
    for action in (action for one in statements(filled, name) for action in listed(one["Action"])):
        service, operation = action.split(":")
        known = session.get_service_model(service).operation_names
        named = OF_S3.get(operation, operation) if service == "s3" else operation
        assert "*" not in action and (named in known or action in UNREQUESTED), action


def test_what_changes_something_is_bounded_to_what_is_ours(filled):
    looks = ("ec2:Describe", "ecr:GetAuthorizationToken")
    for one in [*statements(filled, "node"), *statements(filled, "head")]:
        if not all(action.startswith(looks) for action in listed(one["Action"])):
            assert "*" not in listed(one["Resource"]), one["Sid"]


def test_the_head_starts_and_ends_nodes_of_its_cluster_alone(filled):
    ours = filled("aws.yaml")["cluster_name"]
    of_nodes = [one for one in statements(filled, "head") if "instance/*" in str(one["Resource"])]
    conditions = [one["Condition"]["StringEquals"] for one in of_nodes]
    assert conditions == [
        {f"aws:RequestTag/{TAG_RAY_CLUSTER_NAME}": ours},
        {"ec2:CreateAction": "RunInstances"},
        {f"ec2:ResourceTag/{TAG_RAY_CLUSTER_NAME}": ours},
    ]
    (passed,) = [one["Resource"] for one in statements(filled, "head") if "iam:PassRole" in one["Action"]]
    profiles = {node["node_config"]["IamInstanceProfile"]["Name"] for node in nodes(filled) if node["resources"]["CPU"]}
    assert {passed.rpartition("/")[2]} == profiles


def nodes(filled):
    return filled("aws.yaml")["available_node_types"].values()


def test_a_node_gets_at_the_bucket_of_the_jobs_and_at_the_image(filled):
    places = [place for one in statements(filled, "node") for place in listed(one["Resource"])]
    assert "arn:aws:s3:::my-bucket" in places and "arn:aws:s3:::my-bucket/*" in places
    repository = filled("aws.yaml")["docker"]["image"].rpartition("/")[2].partition(":")[0]
    assert f"arn:aws:ecr:us-west-2:123456789012:repository/{repository}" in places
    metadata = [node["node_config"]["MetadataOptions"]["HttpTokens"] for node in nodes(filled)]
    assert metadata == ["required"] * len(metadata)
