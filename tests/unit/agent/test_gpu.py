"""GPUs as NVIDIA's library tells of them, and which attempt has which."""

from types import SimpleNamespace

import pynvml
import pytest

from longshore.agent.attempts.attempt import AttemptKey, StepFailed
from longshore.agent.gpu import IN_CONTAINER, IN_PROCESS, Gpu, GpuPool, find_gpus, gpu_ids

A, B, C = (AttemptKey(name, 1) for name in "abc")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs, of which the second does not answer."""

    def handle(index: int) -> int:
        if index == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    for name, answer in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetUUID": "GPU-{}".format,
        "nvmlDeviceGetName": lambda _: "NVIDIA A10G",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=23028 * 1024**2),
    }.items():
        monkeypatch.setattr(pynvml, name, answer)


@pytest.mark.usefixtures("library")
def test_one_that_does_not_answer_keeps_no_other_from_being_found() -> None:
    assert find_gpus() == tuple(Gpu(f"GPU-{index}", "NVIDIA A10G", 23028) for index in (0, 2))


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED]
)
def test_a_machine_without_library_or_driver_has_none(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert find_gpus() == ()


@pytest.mark.usefixtures("library")
def test_a_library_that_fails_later_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def fail() -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", fail)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: closed.append(True))
    assert (find_gpus(), closed) == ((), [True])


def test_of_those_declared_those_that_are_there_count() -> None:
    found = [Gpu(f"GPU-{index}", "", 1) for index in range(2)]
    assert gpu_ids(1, found) == ("GPU-0",)
    assert gpu_ids(4, found) == ("GPU-0", "GPU-1")
    assert gpu_ids(0, found) == ()
    assert gpu_ids(2, []) == ("0", "1")


def test_a_gpu_is_one_attempts_alone_until_it_is_given_back() -> None:
    pool = GpuPool(["x", "y", "z"], IN_PROCESS)
    assert pool.take(A, 2) == ("x", "y")
    assert pool.take(A, 2) == ("x", "y")
    with pytest.raises(StepFailed, match="2 GPUs are needed, and 1 of 3 are free"):
        pool.take(B, 2)
    assert pool.take(B, 1) == ("z",)
    assert pool.take(C, 0) == ()
    pool.release(A)
    pool.release(A)
    assert pool.take(C, 0) == ()
    pool.release(C)
    assert pool.take(C, 2) == ("x", "y")


def test_what_was_found_keeps_what_it_has() -> None:
    pool = GpuPool(["x", "y"], IN_PROCESS)
    pool.restore(A, ["x", "gone"])
    assert pool.take(B, 1) == ("y",)
    pool.release(A)
    pool.release(B)
    assert pool.take(C, 2) == ("x", "y")
    with pytest.raises(StepFailed):
        pool.take(A, 1)


def test_what_an_attempt_has_is_visible_to_it_and_nothing_else() -> None:
    assert GpuPool(["x", "y"], IN_PROCESS).variables(["x", "y"]) == {"CUDA_VISIBLE_DEVICES": "x,y"}
    assert GpuPool(["x"], IN_PROCESS).variables([]) == {"CUDA_VISIBLE_DEVICES": ""}
    assert GpuPool(["x"], IN_CONTAINER).variables([]) == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert GpuPool([], IN_CONTAINER).variables([]) == {}
