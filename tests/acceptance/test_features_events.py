"""Events of real jobs: looked at by the command, and jobs that they submit."""

import json

import boto3
from acceptance.aws import QUEUE, Aws
from acceptance.stand import Stack, eventually


def test_events_of_a_job_are_printed_and_one_submits_another(aws: Aws, stack: Stack) -> None:
    events = boto3.client(
        "events",
        region_name="us-east-1",
        endpoint_url=stack.gateway_url,
        aws_access_key_id=stack.access_key.access_key_id,
        aws_secret_access_key=stack.access_key.secret_access_key,
    )
    definition = aws.register("chained", "echo", "done")
    pattern = {
        "source": ["aws.batch"],
        "detail": {"status": ["SUCCEEDED"], "jobName": ["chain-first"]},
    }
    events.put_rule(Name="chain", EventPattern=json.dumps(pattern))
    try:
        answer = events.put_targets(
            Rule="chain",
            Targets=[
                {
                    "Id": "next",
                    "Arn": f"arn:aws:batch:us-east-1:123456789012:job-queue/{QUEUE}",
                    "BatchParameters": {"JobDefinition": definition, "JobName": "chain-second"},
                }
            ],
        )
        assert answer["FailedEntryCount"] == 0
        first = aws.submit("chain-first", definition)
        aws.end(first)
        found = eventually(
            lambda: stack.json("jobs", "--name", "chain-second"), "a job by an event"
        )
        second = found[0]["jobId"]
        assert aws.end(second)["status"] == "SUCCEEDED"
    finally:
        events.remove_targets(Rule="chain", Ids=["next"])
        events.delete_rule(Name="chain")

    wanted = json.dumps({"detail": {"jobId": [first, second]}})
    shown = stack.call("events", "--pattern", wanted, check=True).stdout.splitlines()
    assert [line.split()[-1] for line in shown if first in line and "SUCCEEDED" in line]
    lines = stack.call("events", "--pattern", wanted, "--json", check=True).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    states = [
        one["event"]["detail"]["status"]
        for one in told
        if one["event"]["detail"]["jobId"] == second
    ]
    assert states[0] == "RUNNABLE"
    assert states[-1] == "SUCCEEDED"
    after = stack.call(
        "events", "--pattern", wanted, "--after", told[-1]["position"], check=True
    ).stdout
    assert after == ""


def test_what_is_wrong_with_a_look_at_events_is_said_in_a_sentence(stack: Stack) -> None:
    for arguments, said in (
        (("events", "--pattern", "{}"), "Event pattern is not valid"),
        (("events", "--after", "x"), "is no position of an event"),
        (("dead-letter", "resend", "999999"), "None of these letters is there"),
        (("dead-letter", "resend"), "Give the numbers of letters"),
    ):
        done = stack.call(*arguments)
        assert done.returncode != 0
        assert said in done.stderr
    assert stack.json("dead-letter", "list", "--rule", "none") == []
