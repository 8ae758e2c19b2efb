"""The committed modules and the lint rules agree with the protos as they are."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from support.patience import PATIENCE_SECONDS

from longshore.v1 import submission_service_pb2_grpc


def test_generated_modules_are_current(script: ModuleType) -> None:
    assert script.check() == 0, "run make protos"


def test_a_stale_module_is_found(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "OUTPUT", tmp_path)
    script.generate(tmp_path)
    assert script.check() == 0
    module = script.OUTPUT / script.generated(tmp_path)[0]
    module.write_text(module.read_text() + "\n")
    assert script.check() == 1
    orphan = module.with_name("gone_pb2.py")
    orphan.touch()
    script.generate(tmp_path)
    assert script.check() == 0
    assert not orphan.exists()


def test_lint_passes(script: ModuleType) -> None:
    assert script.lint() == 0


def test_the_script_runs_as_a_command(script: ModuleType) -> None:
    command = [sys.executable, str(script.ROOT / "scripts" / "protos"), "check"]
    assert subprocess.run(command, check=False, timeout=PATIENCE_SECONDS).returncode == 0


def test_stubs_cover_every_rpc(service: ServiceDescriptor) -> None:
    servicer = submission_service_pb2_grpc.SubmissionServiceServicer
    assert all(hasattr(servicer, method.name) for method in service.methods)


def test_message_names_are_unique(image: list[FileDescriptorProto]) -> None:
    names = [message.name for file in image for message in file.message_type]
    assert len(names) == len(set(names))
