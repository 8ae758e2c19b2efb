"""Every operation of AWS's model is called by boto3 over the gateway and through gRPC."""

import pytest
from botocore.exceptions import ClientError
from support.contract import SERVICE, aws_model, built
from support.operations import OPERATIONS, Json
from support.wire import Tables, Wire

from longshore.v1 import options_pb2

GOOD = [
    pytest.param(name, request, id=f"{name}-{number}")
    for name, operation in OPERATIONS.items()
    for number, request in enumerate(operation.good)
]
REFUSED = [
    pytest.param(name, refusal.request, refusal.says, id=f"{name}-{number}")
    for name, operation in OPERATIONS.items()
    for number, refusal in enumerate(operation.refusals)
] + [
    pytest.param(method.name, {}, f"{method.name} is not supported: {why}", id=method.name)
    for method in SERVICE.methods
    if (why := method.GetOptions().Extensions[options_pb2.refused])
]


def test_every_operation_is_here() -> None:
    assert set(OPERATIONS) == {method.name for method in built(SERVICE)}
    assert {method.name for method in SERVICE.methods} == set(aws_model().operation_names)


@pytest.mark.parametrize(("operation", "members"), GOOD)
def test_each_is_done(wire: Wire, tables: Tables, operation: str, members: Json) -> None:
    try:
        wire.aws(operation, **members)
        changed = tables.changed()
        tables.put_back()
        answer = wire.rpc(operation, members)

        assert answer.is_success, answer
        assert tables.changed() - {"shapes"} == changed - {"shapes"}
    finally:
        tables.put_back()
    assert wire.complaints.taken() == []


@pytest.mark.parametrize(("operation", "members", "says"), REFUSED)
def test_each_is_refused_in_the_same_words(
    wire: Wire, tables: Tables, operation: str, members: Json, says: str
) -> None:
    with pytest.raises(ClientError) as raised:
        wire.aws(operation, **members)
    answer = wire.rpc(operation, members)

    error = raised.value.response["Error"]
    assert (error["Code"], answer.is_success) == ("ClientException", False)
    assert says in error["Message"]
    assert answer.message == error["Message"]
    assert tables.changed() == set()
    assert wire.complaints.taken() == []
