"""What these tests hold against each other: AWS's service model and our descriptors."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from support.contract import aws_model, built

from longshore.v1 import submission_service_pb2

ROOT = Path(__file__).resolve().parents[2]


def structures(shape: Shape) -> Iterator[StructureShape]:
    """A shape's structures, itself included, each once."""
    waiting: list[Shape] = [shape]
    seen: set[str] = set()
    while waiting:
        current = waiting.pop()
        if isinstance(current, StructureShape):
            if current.name in seen:
                continue
            seen.add(current.name)
            yield current
            waiting.extend(current.members.values())
        elif isinstance(current, ListShape):
            waiting.append(current.member)
        elif isinstance(current, MapShape):
            waiting.extend((current.key, current.value))


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
    loader = SourceFileLoader("protos_script", str(ROOT / "scripts" / "protos"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


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
