"""evaluateOnExit."""

import pytest

from longshore.domain.job.retry import ExitRule, MemoryGrowth, should_retry

LOST = "Host EC2 (instance i-1) terminated."


def retries(
    *rules: dict[str, str],
    exit_code: int | None = 1,
    reason: str | None = None,
    status_reason: str | None = None,
) -> bool:
    return should_retry(
        tuple(ExitRule.from_json(rule) for rule in rules),
        exit_code=exit_code,
        reason=reason,
        status_reason=status_reason,
    )


def test_no_rule_means_retry() -> None:
    assert retries()


def test_no_rule_that_matches_means_retry() -> None:
    assert retries({"action": "EXIT", "onExitCode": "2"})


@pytest.mark.parametrize("action", ["EXIT", "exit", "Exit"])
def test_the_action_has_no_case(action: str) -> None:
    assert not retries({"action": action, "onExitCode": "1"})


def test_the_first_rule_that_matches_decides() -> None:
    spot = {"action": "RETRY", "onStatusReason": "Host EC2*"}
    otherwise = {"action": "EXIT", "onReason": "*"}
    assert retries(spot, otherwise, exit_code=None, status_reason=LOST)
    assert not retries(spot, otherwise, exit_code=1)
    assert not retries(otherwise, spot, exit_code=None, status_reason=LOST)


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = {"action": "EXIT", "onExitCode": "137", "onReason": "OutOfMemory*"}
    assert not retries(rule, exit_code=137, reason="OutOfMemoryError: Container killed")
    assert retries(rule, exit_code=137)
    assert retries(rule, exit_code=1, reason="OutOfMemoryError")


@pytest.mark.parametrize(
    ("pattern", "exit_code", "matches"),
    [
        ("1", 1, True),
        ("1", 10, False),
        ("1*", 10, True),
        ("1*", 21, False),
        ("*", 3, True),
        ("*", None, True),
        ("0", None, False),
        ("", None, True),
        ("", 1, False),
    ],
)
def test_patterns_match_whole_or_with_an_asterisk_the_beginning(
    pattern: str, exit_code: int | None, matches: bool
) -> None:
    """An absent exit code is an empty text."""
    assert retries({"action": "EXIT", "onExitCode": pattern}, exit_code=exit_code) is not matches


def test_patterns_have_case_and_no_other_wildcard() -> None:
    assert retries({"action": "EXIT", "onReason": "out*"}, reason="OutOfMemoryError")
    assert retries({"action": "EXIT", "onReason": "Out?f*"}, reason="OutOfMemoryError")
    assert retries({"action": "EXIT", "onReason": "Out.*"}, reason="OutOfMemoryError")


OOM = "OutOfMemoryError: Container killed due to memory usage"


@pytest.mark.parametrize(
    ("factor", "most", "before", "reason", "after"),
    [
        (2, 1000, 100, OOM, 200),
        (1.1, 1000, 4, OOM, 5),
        (2, 150, 100, OOM, 150),
        (2, 90, 100, OOM, 100),
        (2, 1000, 100, None, 100),
        (2, 1000, 100, "CannotPullContainerError: OutOfMemoryError", 100),
    ],
)
def test_memory_grows_after_an_attempt_that_had_too_little(
    factor: float, most: int, before: int, reason: str | None, after: int
) -> None:
    assert MemoryGrowth(factor, most).after(before, reason) == after
