"""Stacks for tests that speak to longshore from outside.

LONGSHORE_TEST_RUNTIME chooses how their containers run: docker (the default) or process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.aws import Aws, Gate, Lasting
from acceptance.stand import Stack
from support.foreign import CPP, CppClient
from support.scratch import scratch_directory

#: Of the stack of `user`: after which an instance is idle for long, and between scaling decisions.
IDLE_SECONDS = 2
INTERVAL_SECONDS = 2


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the stack that all share are one worker's; those with their own are anybody's."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stack"))
        elif "lasting_stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("lasting_stack"))
        elif "user" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("user"))


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for whatever the test starts."""
    with scratch_directory() as made:
        yield made


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One longshore for all tests that only use it."""
    with scratch_directory() as made:
        shared = Stack(made / "stack")
        shared.up()
        yield shared
        shared.down()


@pytest.fixture(scope="session")
def lasting_stack() -> Iterator[Stack]:
    """A longshore that each test leaves as it found it: ready, and watched by a supervisor.

    On the process runtime.
    """
    with scratch_directory() as made:
        stack = Stack(made / "stack", runtime="process")
        stack.up()
        yield stack
        stack.down()


@pytest.fixture
def own_stack(place: Path) -> Iterator[Stack]:
    """A longshore that the test starts, breaks and stops itself; on the process runtime."""
    made = Stack(place / "stack", runtime="process")
    yield made
    if made.may_run:
        made.down()


@pytest.fixture(scope="session")
def aws(stack: Stack) -> Iterator[Aws]:
    """AWS's tools on the stack that all share."""
    made = Aws(stack)
    yield made
    made.client.close()


@pytest.fixture(scope="session")
def user() -> Iterator[Aws]:
    """A user of a stack that gives idle instances back soon, for all tests that watch them go."""
    settings = {
        "LONGSHORE_IDLE_SECONDS": str(IDLE_SECONDS),
        "LONGSHORE_SCALE_INTERVAL": str(INTERVAL_SECONDS),
    }
    with scratch_directory() as made:
        stack = Stack(made / "stack", settings=settings)
        stack.up()
        user = Aws(stack)
        yield user
        user.client.close()
        stack.down()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A place where jobs wait for the test; open at the latest when it is over."""
    made = Gate(tmp_path)
    yield made
    made.open()


@pytest.fixture(scope="session")
def narrow(aws: Aws) -> str:
    """A queue on a compute environment that has room for one job of one vCPU at a time."""
    aws.new_environment("narrow", "local.eighth", 1)
    return aws.new_queue("narrow", "narrow", priority=5)


@pytest.fixture(scope="session")
def lasting(aws: Aws) -> Lasting:
    """Jobs that take long to end, whatever is done meanwhile."""
    return Lasting.submit(aws)


@pytest.fixture(scope="session")
def cpp_client() -> Iterator[CppClient]:
    """The example client in C++."""
    made = CppClient()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _early(request: pytest.FixtureRequest) -> None:
    """Begins what takes long, if it is wanted, well before the tests that look at it."""
    if "stack" not in request.fixturenames:
        return
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in ("cpp_client", "lasting"):
        if name in wanted and (name != "cpp_client" or CPP):
            request.getfixturevalue(name)
