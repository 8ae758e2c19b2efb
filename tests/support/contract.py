"""What the contract says of itself."""

from botocore.loaders import Loader
from botocore.model import ServiceModel
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from longshore.v1 import options_pb2


def built(service: ServiceDescriptor) -> list[MethodDescriptor]:
    """The rpcs that are not refused whatever they are given."""
    return [m for m in service.methods if not m.GetOptions().Extensions[options_pb2.refused]]


#: Of quota shares, which longshore has not: only answers have them, and they are never there.
_ABSENT = {
    "GetJobQueueSnapshotResponse": "frontOfQuotaShares",
    "QueueSnapshotUtilizationDetail": "quotaShareUtilization",
}


def aws_model() -> ServiceModel:
    """AWS's own model of the service, as botocore ships it, less what is never answered."""
    model = Loader().load_service_model("batch", "service-2", "2016-08-10")
    for shape, member in _ABSENT.items():
        del model["shapes"][shape]["members"][member]
    return ServiceModel(model, "batch")
