"""Checks of a container's `logConfiguration`: drivers of container engines, and their options.

The drivers themselves check values when a container is made; here it is checked that an option is
one that the driver knows, and that what it cannot do without is there. Docker documentation,
"Configure logging drivers".
"""

from longshore.domain.checks import Json, require

#: What every driver takes: how output is handed on, and the copy that is kept for readers.
_ANY = frozenset(
    {
        "mode",
        "max-buffer-size",
        "cache-disabled",
        "cache-max-size",
        "cache-max-file",
        "cache-compress",
    }
)
_TAGS = frozenset({"tag", "labels", "labels-regex", "env", "env-regex"})
#: By driver the options that it knows besides.
_OPTIONS = {
    "json-file": _TAGS | {"max-size", "max-file", "compress"},
    "syslog": _TAGS
    | {
        "syslog-address",
        "syslog-facility",
        "syslog-tls-ca-cert",
        "syslog-tls-cert",
        "syslog-tls-key",
        "syslog-tls-skip-verify",
        "syslog-format",
    },
    "journald": _TAGS,
    "gelf": _TAGS
    | {
        "gelf-address",
        "gelf-compression-type",
        "gelf-compression-level",
        "gelf-tcp-max-reconnect",
        "gelf-tcp-reconnect-delay",
    },
    "fluentd": _TAGS
    | {
        "fluentd-address",
        "fluentd-async",
        "fluentd-async-connect",
        "fluentd-async-reconnect-interval",
        "fluentd-buffer-limit",
        "fluentd-retry-wait",
        "fluentd-max-retries",
        "fluentd-request-ack",
        "fluentd-sub-second-precision",
        "fluentd-read-timeout",
        "fluentd-write-timeout",
    },
    "splunk": _TAGS
    | {
        "splunk-token",
        "splunk-url",
        "splunk-source",
        "splunk-sourcetype",
        "splunk-index",
        "splunk-capath",
        "splunk-caname",
        "splunk-insecureskipverify",
        "splunk-format",
        "splunk-verify-connection",
        "splunk-gzip",
        "splunk-gzip-level",
        "splunk-index-acknowledgment",
    },
    "awslogs": frozenset(
        {
            "tag",
            "awslogs-region",
            "awslogs-endpoint",
            "awslogs-group",
            "awslogs-stream",
            "awslogs-stream-prefix",
            "awslogs-create-group",
            "awslogs-create-stream",
            "awslogs-datetime-format",
            "awslogs-multiline-pattern",
            "awslogs-credentials-endpoint",
            "awslogs-force-flush-interval-seconds",
            "awslogs-max-buffered-events",
            "awslogs-format",
        }
    ),
}
#: What a driver cannot do without.
_NEEDED = {"gelf": ("gelf-address",), "splunk": ("splunk-token", "splunk-url")}


def check_driver(configuration: Json, path: str) -> None:
    """Checks the driver of a log configuration and the names of its options.

    Raises:
        InvalidRequest: the driver does not know an option, or lacks one.
    """
    driver = configuration.get("logDriver")
    if driver not in _OPTIONS:  # None, or one that is refused before this
        return
    given = [
        *((name, f"{path}.options") for name in configuration.get("options", {})),
        *(
            (entry["name"], f"{path}.secretOptions[{index}].name")
            for index, entry in enumerate(configuration.get("secretOptions", ()))
        ),
    ]
    known = _OPTIONS[driver] | _ANY
    for name, member in given:
        require(
            name in known,
            f"The log driver {driver} has no option {name[:64]!r}; it has "
            f"{', '.join(sorted(known))}.",
            member,
        )
    for name in _NEEDED.get(driver, ()):
        require(
            name in {given_name for given_name, _ in given},
            f"{path}.options.{name} is required by the log driver {driver}.",
            f"{path}.options.{name}",
        )
