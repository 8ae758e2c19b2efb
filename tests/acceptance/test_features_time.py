"""What takes a minute: submitted with the first test of the session, looked at last."""

import pytest
from acceptance.aws import Aws, Lasting

pytestmark = [pytest.mark.slow]


def test_timeout_stops_the_attempt_and_is_not_retried(aws: Aws, lasting: Lasting) -> None:
    """Sixty seconds after the start of the attempt, the least that AWS allows."""
    for job_id in (lasting.timed_out, lasting.timed_out_by_submission):
        job = aws.end(job_id, seconds=150)
        assert job["status"] == "FAILED"
        assert job["statusReason"] == "Job attempt duration exceeded timeout"
        assert job["timeout"] == {"attemptDurationSeconds": 60}
        assert job["container"]["exitCode"] == 143
        assert not job["isTerminated"]
        (attempt,) = job["attempts"]
        assert attempt["statusReason"] == "Job attempt duration exceeded timeout"
        assert 59_500 <= attempt["stoppedAt"] - attempt["startedAt"] <= 80_000


def test_who_ignores_the_request_to_stop_is_killed(aws: Aws, lasting: Lasting) -> None:
    job = aws.end(lasting.stubborn)
    assert (job["status"], job["statusReason"]) == ("FAILED", "No more of this.")
    assert job["isTerminated"]
    (attempt,) = job["attempts"]
    assert attempt["container"]["exitCode"] == 137
    assert 29_000 <= attempt["stoppedAt"] - attempt["startedAt"] <= 50_000
