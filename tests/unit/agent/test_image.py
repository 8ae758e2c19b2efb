"""References of images: what is none fails as a pull, whatever the engine makes of it."""

from typing import cast

import pytest

from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.docker.engine import Engine, EngineAwayError
from longshore.agent.docker.image import Images


class _Asked:
    """Stands for an engine, and is away for every image that it is asked for."""

    def __init__(self) -> None:
        self.docker = self
        self.images = self

    def inspect(self, image: str) -> str:
        return image

    async def call(self, image: str, _: float) -> None:
        raise EngineAwayError(image)


def _images() -> Images:
    return Images(cast("Engine", _Asked()), "if-missing", 1)


@pytest.mark.parametrize(
    "image",
    [
        "docker://busybox",
        "https://registry.example/busybox",
        "busybox//x",
        "busybox:",
        "busybox:a:b",
        "/busybox",
        "busybox/",
        "Busybox",
        "a..b",
        "busybox@sha256:12",
        "busybox:" + "t" * 129,
        "busybox#1",
    ],
)
async def test_what_is_no_reference_cannot_be_pulled(image: str) -> None:
    with pytest.raises(StepFailed) as caught:
        await _images().make_present(image)
    assert str(caught.value) == "CannotPullContainerError: invalid reference format"


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "library/busybox:1.36",
        "localhost:5000/a/b__c-d.e:_T.x-1",
        "[::1]:5000/a",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app@sha256:" + "0a" * 32,
        "Registry.Example/a:1@sha256:" + "0a" * 32,
        "0a" * 32,
        "sha256:" + "0a" * 32,
    ],
)
async def test_the_engine_is_asked_for_a_reference(image: str) -> None:
    with pytest.raises(RuntimeAway):
        await _images().make_present(image)
