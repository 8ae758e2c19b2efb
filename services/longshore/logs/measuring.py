"""What the disk of logs has, for Prometheus."""

import shutil
from pathlib import Path

from prometheus_client import Gauge

FREE = Gauge("longshore_logs_disk_free_bytes", "What is free on the disk that logs are stored on.")
SIZE = Gauge("longshore_logs_disk_size_bytes", "The size of the disk that logs are stored on.")


def show_disk(directory: Path) -> None:
    """Shows the disk of a directory, looked at with each scrape, on the scrape's own thread."""
    FREE.set_function(lambda: float(shutil.disk_usage(directory).free))
    SIZE.set_function(lambda: float(shutil.disk_usage(directory).total))
