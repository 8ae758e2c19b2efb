"""The README's tour: the commands of its `console` blocks run, and print what it shows."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from acceptance import tour
from acceptance.stand import RUNTIME, Stack
from support.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(RUNTIME != "docker", reason="the tour shows containers")
def test_the_tour_prints_what_the_readme_shows(place: Path) -> None:
    stack = Stack(place / "data")
    text = (ROOT / "README.md").read_text("utf-8").replace("~/.longshore", str(stack.data_dir))
    for offset in (0, 1, 2, 3, 4, 5, 10):
        text = text.replace(f"127.0.0.1:{7070 + offset}", f"127.0.0.1:{stack.port_base + offset}")
    steps = tour.steps(text)
    assert len(steps) > 25
    try:
        printed = tour.run(steps, stack, place)
    finally:
        stack.down()
    for (command, expected), output in zip(steps, printed, strict=True):
        assert tour.matches(expected, output), f"$ {command}\n{output}"


def test_the_python_example_runs(stack: Stack, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    stack.call(
        "definition", "register", "square", "--image", "busybox:latest", "--", "true", check=True
    )
    example = tmp_path / "example.py"
    example.write_text(code.replace("127.0.0.1:7070", f"127.0.0.1:{stack.port_base}"))
    done = subprocess.run(
        [ROOT / ".venv/bin/python", example],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=True,
        env=os.environ | stack.own_key,
    )
    assert done.stdout.strip() == "SUCCEEDED"
