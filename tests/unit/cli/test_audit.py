"""What `longshore audit` says that a record is about."""

from typing import Any

import pytest

from longshore.v1 import cloud_trail_service_pb2 as pb
from longshore_cli import audit

JOB, INSTANCE = "28f7cf0c-7613-48e4-bac6-c6e780342eba", "i-277cf6fda9bfcd069"


@pytest.mark.parametrize(
    ("members", "resources", "about"),
    [
        ({"responseElements": {"containerInstance": {"ec2InstanceId": INSTANCE}}}, [], INSTANCE),
        (
            {
                "requestParameters": {
                    "overrides": {
                        "containerOverrides": [
                            {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": JOB}]}
                        ]
                    }
                }
            },
            [],
            JOB,
        ),
        ({"responseElements": {"containerInstance": None}}, [], ""),
        (
            {"requestParameters": {"overrides": {"containerOverrides": [{"environment": [7]}]}}},
            [],
            "",
        ),
        ({}, ["square:1", "default"], "square:1 default"),
    ],
)
def test_what_a_record_is_about(members: dict[str, Any], resources: list[str], about: str) -> None:
    event = pb.TrailEvent(resources=[pb.TrailResource(resource_name=name) for name in resources])
    record = {"userIdentity": {}, "sourceIPAddress": "", "userAgent": "", **members}
    assert audit._row(event, record)[4] == about
