"""Tours: the commands of a document's `console` blocks, run, and compared with what it shows.

What differs from run to run (ids, times, versions) is compared by its form; `...` stands for
anything.
"""

import os
import re
import subprocess
from pathlib import Path

from acceptance.stand import Stack

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


def steps(text: str) -> list[tuple[str, list[str]]]:
    """Commands of the console blocks, each with the lines that follow it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def _form(text: str) -> str:
    for pattern, stand_in in _FORMS:
        text = re.sub(pattern, stand_in, text)
    return text.strip()


def matches(expected: list[str], printed: str) -> bool:
    """Whether what was printed is what is shown."""
    pattern = re.escape(_form("\n".join(expected))).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, _form(printed), re.DOTALL) is not None


def run(commands: list[tuple[str, list[str]]], stack: Stack, home: Path) -> list[str]:
    """Runs all commands in one shell, at home, and returns what each printed."""
    mark = "=== end of step ==="
    script = "\n".join(
        f'{command}\ncode=$?; [ $code = 0 ] || echo "[exit code $code]"; echo "{mark}"'
        for command, _ in commands
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=home,
        env=stack.environ | {"HOME": str(home), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
    )
    printed = done.stdout.split(mark + "\n")
    assert len(printed) == len(commands) + 1, done.stderr
    return printed[:-1]
