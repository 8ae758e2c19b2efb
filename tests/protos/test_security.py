"""Who may call each rpc, which docs/security.md tells, and servers check."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from support.contract import ROOT, load_script

from longshore.rpc.access import Rule, UnguardedRpc, rules_of
from longshore.v1 import options_pb2


def test_the_page_is_current() -> None:
    current = (ROOT / "docs" / "security.md").read_text()
    assert load_script("security").page() == current, "run make security"


def test_each_rpc_says_who_may_call_it() -> None:
    services = load_script("security").services()
    rules = rules_of(service.full_name for service in services)
    assert len(rules) == sum(len(service.methods) for service in services) > 100
    for path, rule in rules.items():
        assert rule.users is bool(rule.action), path


def test_an_rpc_that_no_interceptor_serves_is_refused() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="s", syntax="proto3")
    file.message_type.add(name="M")
    method = file.service.add(name="S").method.add(
        name="R", input_type=".s.M", output_type=".s.M", client_streaming=True
    )
    method.options.Extensions[options_pb2.access].anyone = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    with pytest.raises(UnguardedRpc, match="takes a stream"):
        Rule.of(pool.FindServiceByName("s.S").methods_by_name["R"])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "does not say who may call it"),
        (options_pb2.Access(roles=[options_pb2.ROLE_UNSPECIFIED]), "does not say who"),
        (options_pb2.Access(users=True), "must name an action"),
        (options_pb2.Access(roles=[options_pb2.ROLE_AGENT], action="batch:X"), "must name an"),
    ],
)
def test_an_rpc_that_does_not_is_refused(said: options_pb2.Access | None, why: str) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.message_type.add(name="M")
    method = file.service.add(name="S").method.add(name="R", input_type=".t.M", output_type=".t.M")
    if said is not None:
        method.options.Extensions[options_pb2.access].CopyFrom(said)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    found = pool.FindServiceByName("t.S").methods_by_name["R"]
    with pytest.raises(UnguardedRpc, match=why):
        Rule.of(found)
