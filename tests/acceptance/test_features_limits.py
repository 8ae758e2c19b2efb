"""What longshore takes and AWS does not, on the shared stack."""

from acceptance.aws import Aws


def test_parts_of_a_vcpu_an_array_of_one_and_a_second(aws: Aws) -> None:
    needs = [{"type": "VCPU", "value": "0.125"}, {"type": "MEMORY", "value": "64"}]
    slow = aws.register("limits-slow", "sh", "-c", "trap 'exit 1' TERM; sleep 60 & wait")
    small = {"containerOverrides": {"resourceRequirements": needs}}
    timed = aws.submit("timed", slow, timeout={"attemptDurationSeconds": 1}, **small)
    alone = aws.submit(
        "alone", aws.register("limits-quick", "true"), arrayProperties={"size": 1}, **small
    )
    assert aws.end(alone)["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 1
    ended = aws.end(timed)
    assert ended["statusReason"] == "Job attempt duration exceeded timeout"
    assert ended["container"]["resourceRequirements"] == needs
