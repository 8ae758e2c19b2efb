"""What the agent counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from longshore.runtime.metrics import LONG_BUCKETS

ASSIGNED = Counter("longshore_agent_assigned_total", "Attempts taken on.")
ENDED = Counter("longshore_agent_ended_total", "Attempts that ended.")
LIVE = Gauge(
    "longshore_agent_attempts", "Attempts on the instance, ended ones not removed included."
)
CONNECTED = Gauge("longshore_agent_connected", "1 while registered with the scheduler.")
REPORTS = Counter("longshore_agent_reports_total", "Reports sent, repeated ones included.")
LOG_BYTES = Counter("longshore_agent_log_bytes_total", "Bytes of logs stored by the log service.")
LAUNCH_SECONDS = Histogram(
    "longshore_agent_launch_seconds",
    "Time to create and start what an attempt runs.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
PULL_SECONDS = Histogram(
    "longshore_image_pull_seconds",
    "Time of pulls of images, tries again included, by result: pulled or failed.",
    ["result"],
    buckets=LONG_BUCKETS,
)
PULL_BYTES = Counter(
    "longshore_image_pull_bytes_total",
    "Bytes of images that the engine downloaded, compressed as registries keep them.",
)
