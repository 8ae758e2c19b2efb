"""Logs of our own processes: structlog, JSON unless a person watches.

structlog loads rich, which takes as long as all else that a small service loads, wherever rich is
installed; no line of ours needs it. So each service's package imports this module, which loads
structlog without it, before anything else of the service imports structlog.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import TextIO, cast


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Whoever tries to import a module meanwhile is told that it is not there."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what Python has for just this
    try:
        yield
    finally:
        del sys.modules[module]


with _without("rich"):
    import structlog

#: Who is told each line besides.
_LISTENERS: list[Callable[[str], object]] = []
#: Colours of a terminal.
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


@contextlib.contextmanager
def heard_by(listener: Callable[[str], object]) -> Iterator[None]:
    """Tells somebody each line besides, while the context is open; on whatever thread it is said.

    Args:
        listener: takes a line without its end; it neither waits nor logs anything itself.
    """
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


class _StandardError:
    """Standard error; a line that cannot be written there is lost, and nothing else is.

    It is a file most of the time, and its disk may be full: no reason to end what wants to tell.
    """

    def write(self, text: str) -> None:
        # Its end comes by itself.
        if line := text.rstrip("\n"):
            for listener in _LISTENERS:
                listener(_COLOURS.sub("", line))
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logging(service: str, level: str = "info") -> None:
    """Sets up structlog for a process; every line carries the service's name.

    Args:
        service: name of the service, bound to every line.
        level: least level that is written: debug, info, warning or error.
    """
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not sys.stderr.isatty():
        # Without local variables: they hold what users submit, environment values included.
        processors.append(
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            )
        )
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
