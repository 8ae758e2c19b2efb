"""A machine with NVIDIA GPUs, as far as the agent can tell: a library in place of NVIDIA's."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

_LIBRARY = """
import json, os

class NVMLError(Exception):
    pass

class NVMLError_LibraryNotFound(NVMLError):
    pass

class _Memory:
    total = 24 * 1024**3

_GPUS = json.loads(os.environ["FAKE_GPUS"])

def nvmlInit():
    pass

def nvmlShutdown():
    pass

def nvmlDeviceGetCount():
    return len(_GPUS)

def nvmlDeviceGetHandleByIndex(index):
    return _GPUS[index]

def nvmlDeviceGetUUID(handle):
    return handle

def nvmlDeviceGetName(handle):
    return "NVIDIA Fake"

def nvmlDeviceGetMemoryInfo(handle):
    return _Memory
"""


def fake_nvml(directory: Path, uuids: Sequence[str]) -> dict[str, str]:
    """The environment of an agent that finds such GPUs."""
    library = directory / "nvml"
    library.mkdir()
    (library / "pynvml.py").write_text(_LIBRARY)
    paths = [str(library), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "FAKE_GPUS": json.dumps(list(uuids))}
