"""docs/settings.md, which is made from the code that reads settings."""

import subprocess
import sys
from pathlib import Path


def test_the_page_of_settings_is_what_the_code_reads() -> None:
    """If not: `make settings`."""
    root = Path(__file__).parents[3]
    page = subprocess.run(
        [sys.executable, root / "scripts/settings"], capture_output=True, text=True, check=True
    ).stdout
    assert page == (root / "docs/settings.md").read_text()
