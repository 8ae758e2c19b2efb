"""The README's tour: every command in its `console` blocks runs, and prints what the README shows.

What differs from run to run (ids, times, versions) is compared by its form; `...` stands for
anything.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from acceptance.stand import RUNTIME, Stack

ROOT = Path(__file__).parents[2]
_FORMS = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\b\d+\.\d+s\b", "<duration>"),
    (r"\bi-[0-9a-f]{17}\b", "<instance>"),
    (r"\b0\.\d{4,6}\b", "<dollars>"),
    (r"Docker Engine [^)]*", "Docker Engine <version>"),
    (r"longshore  \d+\.\d+\.\d+", "longshore  <version>"),
    (r" +", " "),
]


def _steps(text: str) -> list[tuple[str, list[str]]]:
    """Commands of the console blocks, each with the lines that follow it."""
    steps: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return steps


def _form(text: str) -> str:
    for pattern, stand_in in _FORMS:
        text = re.sub(pattern, stand_in, text)
    return text.strip()


def _matches(expected: list[str], printed: str) -> bool:
    pattern = re.escape(_form("\n".join(expected))).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, _form(printed), re.DOTALL) is not None


def _run(steps: list[tuple[str, list[str]]], stack: Stack, home: Path) -> list[str]:
    """Runs all commands in one shell and returns what each printed on standard output."""
    mark = "=== end of step ==="
    script = "\n".join(
        f'{command}\ncode=$?; [ $code = 0 ] || echo "[exit code $code]"; echo "{mark}"'
        for command, _ in steps
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=stack.environ | {"HOME": str(home), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
    )
    printed = done.stdout.split(mark + "\n")
    assert len(printed) == len(steps) + 1, done.stderr
    return printed[:-1]


@pytest.mark.timeout(300)
@pytest.mark.skipif(RUNTIME != "docker", reason="the tour shows containers")
def test_the_tour_prints_what_the_readme_shows(place: Path) -> None:
    stack = Stack(place / "data")
    text = (ROOT / "README.md").read_text("utf-8").replace("~/.longshore", str(stack.data_dir))
    for offset in (0, 1, 2, 3, 4, 10):
        text = text.replace(f"127.0.0.1:{7070 + offset}", f"127.0.0.1:{stack.port_base + offset}")
    steps = _steps(text)
    assert len(steps) > 25
    try:
        printed = _run(steps, stack, place)
    finally:
        stack.down()
    for (command, expected), output in zip(steps, printed, strict=True):
        assert _matches(expected, output), f"$ {command}\n{output}"


def test_the_python_example_runs(stack: Stack, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    stack.cli(
        "definition", "register", "square", "--image", "busybox:latest", "--", "true", check=True
    )
    example = tmp_path / "example.py"
    example.write_text(code.replace("127.0.0.1:7070", f"127.0.0.1:{stack.port_base}"))
    done = subprocess.run(
        [ROOT / ".venv/bin/python", example], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "SUCCEEDED"
