"""What the contract says of itself."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from longshore.v1 import options_pb2


def built(service: ServiceDescriptor) -> list[MethodDescriptor]:
    """The rpcs that are not refused whatever they are given."""
    return [m for m in service.methods if not m.GetOptions().Extensions[options_pb2.refused]]
