"""What the contract says of itself."""

import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from longshore.v1 import options_pb2, submission_service_pb2

ROOT = Path(__file__).resolve().parents[2]
#: Whose operations are AWS Batch's.
SERVICE = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]


def load_script(name: str) -> ModuleType:
    """A program of `scripts` as a module."""
    loader = SourceFileLoader(f"{name}_script", str(ROOT / "scripts" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for the names in their annotations.
    sys.modules[loader.name] = module
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


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
