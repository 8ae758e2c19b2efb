"""Schedules and rules by the command and by boto3, on the stack that all share."""

import json

import boto3
from acceptance.aws import QUEUE, REGION, Aws
from acceptance.stand import Stack


def test_a_schedule_is_made_shown_and_deleted_by_the_command(stack: Stack, aws: Aws) -> None:
    definition = aws.register("clock", "echo", "Ref::what")
    arn = stack.cli(
        *("schedule", "create", "clock", "cron(0 3 ? * MON-FRI *)", "-d", definition),
        *("--queue", QUEUE, "--parameter", "what=report", "--attempts", "2"),
        check=True,
    ).stdout.strip()
    assert arn == "arn:aws:events:us-east-1:123456789012:rule/clock"
    try:
        [shown] = [one for one in stack.json("schedule", "list") if one["Name"] == "clock"]
        assert (shown["ScheduleExpression"], shown["State"]) == (
            "cron(0 3 ? * MON-FRI *)",
            "ENABLED",
        )
        assert "cron(0 3 ? * MON-FRI *)" in stack.cli("rule", "list", check=True).stdout
        described = stack.json("rule", "describe", "clock")
        [target] = described["Targets"]
        assert json.loads(target["Input"]) == {"Parameters": {"what": "report"}}
        # The same by AWS's client, over the gateway.
        events = boto3.client(
            "events",
            endpoint_url=stack.gateway_url,
            region_name=REGION,
            aws_access_key_id=stack.access_key.access_key_id,
            aws_secret_access_key=stack.access_key.secret_access_key,
        )
        rule = events.describe_rule(Name="clock")
        assert rule["Arn"] == f"arn:aws:events:{REGION}:123456789012:rule/clock"
        assert events.list_targets_by_rule(Rule="clock")["Targets"] == [target]
        again = stack.call("schedule", "create", "clock", "rate(1 day)", "-d", definition)
        assert (again.returncode, "a rule clock already" in again.stderr) == (2, True)
    finally:
        stack.cli("schedule", "delete", "clock", check=True)
    gone = stack.call("rule", "describe", "clock")
    assert (gone.returncode, "Rule clock does not exist" in gone.stderr) == (4, True)
