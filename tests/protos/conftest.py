"""What these tests hold against each other: AWS's service model and our descriptors."""

import subprocess
from types import ModuleType

import pytest
from botocore.model import ServiceModel, StructureShape
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from support.contract import aws_model, built, load_script, structures

from longshore.v1 import submission_service_pb2


@pytest.fixture(scope="session")
def aws() -> ServiceModel:
    """AWS's own model of the service."""
    return aws_model()


@pytest.fixture(scope="session")
def service() -> ServiceDescriptor:
    """Our service."""
    return submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]


@pytest.fixture(scope="session")
def aws_structures(aws: ServiceModel, service: ServiceDescriptor) -> dict[str, StructureShape]:
    """Every structure of AWS's model that our operations reach, by name."""
    found = {}
    for method in built(service):
        operation = aws.operation_model(method.name)
        for top in (operation.input_shape, operation.output_shape):
            found.update({shape.name: shape for shape in structures(top)})
    return found


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """`scripts/protos` as a module."""
    return load_script("protos")


@pytest.fixture(scope="session")
def image(
    script: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> list[descriptor_pb2.FileDescriptorProto]:
    """Our proto files as protoc reads them, with comments."""
    path = tmp_path_factory.mktemp("image") / "image.binpb"
    try:
        script.protoc("--include_source_info", f"--descriptor_set_out={path}")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"protoc: {error}")
    return list(descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file)
