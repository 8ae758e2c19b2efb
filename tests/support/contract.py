"""What the contract says of itself."""

from botocore.loaders import Loader
from botocore.model import ServiceModel
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from longshore.v1 import options_pb2, submission_service_pb2


def built(service: ServiceDescriptor) -> list[MethodDescriptor]:
    """The rpcs that are not refused whatever they are given."""
    return [m for m in service.methods if not m.GetOptions().Extensions[options_pb2.refused]]


def aws_model() -> ServiceModel:
    """AWS's own model of the service, as botocore ships it, less what is never answered."""
    model = Loader().load_service_model("batch", "service-2", "2016-08-10")
    for file in (
        submission_service_pb2.DESCRIPTOR,
        *submission_service_pb2.DESCRIPTOR.dependencies,
    ):
        for name, message in file.message_types_by_name.items():
            for absent in message.GetOptions().Extensions[options_pb2.absent]:
                del model["shapes"][name]["members"][absent.member]
    return ServiceModel(model, "batch")
