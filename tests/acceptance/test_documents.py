"""Documents that show commands and what they print: both are so."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance import tour
from acceptance.stand import RUNTIME, Stack
from support.scratch import scratch_directory

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(RUNTIME != "docker", reason="the documents show containers"),
    # On one stack: a worker each would start two.
    pytest.mark.xdist_group("documents"),
]


@pytest.fixture(scope="module")
def fresh() -> Iterator[Stack]:
    """A new stack for readers of all documents, one after the other."""
    with scratch_directory() as made:
        stack = Stack(made / "stack")
        stack.up()
        try:
            yield stack
        finally:
            stack.down()


@pytest.mark.parametrize("name", ["multi-node", "job-does-not-start"])
def test_the_document_shows_what_happens(name: str, fresh: Stack, place: Path) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for definition in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (place / "hello.json").write_text(definition)
    steps = tour.steps(text)
    assert len(steps) > 10
    printed = tour.run(steps, fresh, place)
    for (command, expected), output in zip(steps, printed, strict=True):
        assert tour.matches(expected, output), f"$ {command}\n{output}"
