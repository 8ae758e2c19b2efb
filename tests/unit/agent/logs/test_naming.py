"""What logs are called in the spool."""

import pytest

from longshore.agent.logs import naming
from longshore.v1 import agent_service_pb2 as pb


@pytest.mark.parametrize(
    ("driver", "group", "expected"),
    [
        ("", "", "/aws/batch/job"),
        ("awslogs", "/team/jobs", "/team/jobs"),
        ("awslogs", "/aws/batch/job", "/aws/batch/job"),
        ("awslogs", "no group's name", "/aws/batch/job"),
        ("json-file", "/team/jobs", "/aws/batch/job"),
    ],
)
def test_the_group_comes_and_goes_with_the_name(driver: str, group: str, expected: str) -> None:
    assignment = pb.Assignment(log_stream_name="a:b/default/1")
    logging = assignment.container.log_configuration
    logging.log_driver, logging.options["awslogs-group"] = driver, group
    found, stream = naming.parted(naming.name_of(assignment))
    assert (found or "/aws/batch/job", stream) == (expected, "a:b/default/1")
    assert naming.joined(found, stream) == naming.name_of(assignment)
