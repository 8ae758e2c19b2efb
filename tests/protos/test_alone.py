"""The protos are complete in themselves: a stranger makes a client of them with plain tools."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from support.foreign import NODE_MODULES, ensure, needs_node
from support.patience import PATIENCE_SECONDS

_LOAD_ALL = """
const loader = require(process.argv[1]);
for (const file of process.argv.slice(3)) {
    const found = loader.loadSync(file, {includeDirs: [process.argv[2]]});
    if (Object.keys(found).length === 0) throw new Error(file + " is empty");
}
"""


def test_plain_protoc_makes_python_that_imports(script: ModuleType, tmp_path: Path) -> None:
    """In an empty folder, with nothing on the path but what protoc made there."""
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run(
        [
            sys.executable,
            *("-m", "grpc_tools.protoc", "-I", str(script.PROTOS)),
            *(f"--python_out={made}", f"--grpc_python_out={made}"),
            *script.sources(),
        ],
        check=True,
        timeout=2 * PATIENCE_SECONDS,
    )
    modules = sorted(path.stem for path in (made / script.PACKAGE).glob("*_pb2*.py"))
    assert len(modules) >= 2 * len(script.sources())
    program = f"""
import importlib, pathlib, sys
sys.path += [{str(made)!r}, {sysconfig.get_path("purelib")!r}]
for name in {modules!r}:
    module = importlib.import_module("longshore.v1." + name)
    assert pathlib.Path(module.__file__).is_relative_to({str(made)!r}), module.__file__
stubs = importlib.import_module("longshore.v1.submission_service_pb2_grpc")
assert stubs.SubmissionServiceStub
"""
    # Without `site`, whose .pth files lead to the longshore that is installed here for editing.
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, timeout=2 * PATIENCE_SECONDS
    )


@needs_node
def test_nodes_proto_loader_reads_every_file(script: ModuleType, tmp_path: Path) -> None:
    """In an empty folder."""
    ensure("node")
    loader = NODE_MODULES / "@grpc" / "proto-loader"
    command = ["node", "-e", _LOAD_ALL, str(loader), str(script.PROTOS), *script.sources()]
    subprocess.run(command, check=True, timeout=2 * PATIENCE_SECONDS, cwd=tmp_path)


def test_no_file_is_imported_that_is_not_here_or_protocs(script: ModuleType) -> None:
    imported = {
        line.split('"')[1]
        for source in script.sources()
        for line in (script.PROTOS / source).read_text().splitlines()
        if line.startswith("import ")
    }
    others = imported - set(script.sources())
    assert all(name.startswith("google/protobuf/") for name in others), others
