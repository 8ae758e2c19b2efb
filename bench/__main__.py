"""Runs every benchmark, one after the other: `make bench`."""

import subprocess
import sys
from pathlib import Path

BENCHES = (
    "control_plane.py",
    "shares.py",
    "containers.py",
    "scaling.py",
    "capacity.py",
    "records.py",
    "signatures.py",
    "endpoint.py",
    "events.py",
    "event_pattern.py",
    "log_reading.py",
)

if __name__ == "__main__":
    for name in BENCHES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(name)], check=True)
