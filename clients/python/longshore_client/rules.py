"""Rules of events, and schedules: rules that submit a job by the clock."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence

from longshore.v1 import event_bridge_service_pb2 as pb
from longshore.v1 import job_definition_pb2, job_queue_pb2
from longshore_client import build
from longshore_client.connection import Connection
from longshore_client.errors import LongshoreError, NotFound, PreconditionFailed

#: The target of a rule that `create_schedule` made.
SCHEDULE_TARGET = "job"


class RuleCalls(Connection):
    """The calls about rules of events."""

    async def list_rules(
        self, *, prefix: str | None = None, bus: str | None = None
    ) -> AsyncIterator[pb.Rule]:
        """All rules of a bus, `default` if none is named, in order of their names."""
        token = None
        while True:
            with build.well_formed():
                request = pb.ListRulesRequest(
                    name_prefix=prefix, event_bus_name=bus, next_token=token
                )
            response = await self._caller.unary(self._events.ListRules, request)
            for rule in response.rules:
                yield rule
            if not response.next_token:
                return
            token = response.next_token

    async def describe_rule(
        self, name: str, *, bus: str | None = None
    ) -> tuple[pb.DescribeRuleResponse, list[pb.Target]]:
        """A rule and its targets.

        Raises:
            NotFound: there is none of that name.
        """
        with build.well_formed():
            request = pb.DescribeRuleRequest(name=name, event_bus_name=bus)
            listing = pb.ListTargetsByRuleRequest(rule=name, event_bus_name=bus)
        rule = await self._caller.unary(self._events.DescribeRule, request)
        response = await self._caller.unary(self._events.ListTargetsByRule, listing)
        return rule, list(response.targets)

    async def create_schedule(  # noqa: PLR0913 - each is a member
        self,
        name: str,
        expression: str,
        *,
        queue: str,
        definition: str,
        job_name: str | None = None,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        array_size: int | None = None,
        attempts: int | None = None,
        description: str | None = None,
    ) -> str:
        """Submits a job at each time of a schedule; returns the ARN of the rule that does.

        Args:
            name: of the rule.
            expression: `rate(5 minutes)` or `cron(0 10 ? * MON-FRI *)`, in UTC.
            queue: the job queue.
            definition: the job definition, NAME, NAME:REVISION or an ARN.
            job_name: name of the jobs; the rule's by default.
            command: in place of the definition's.
            env: environment variables besides.
            parameters: values of the definition's placeholders.
            array_size: number of children, for array jobs.
            attempts: tries in all.
            description: what it is for.

        Raises:
            InvalidRequest: something is malformed.
            NotFound: there is no such queue or definition.
            PreconditionFailed: there is a rule of that name.
        """
        queue_arn = await self._queue_arn(queue)
        await self._check_definition(definition)
        target = pb.Target(id=SCHEDULE_TARGET, arn=queue_arn)
        with build.well_formed():
            batch = pb.BatchParameters(job_definition=definition, job_name=job_name or name)
            if array_size is not None:
                batch.array_properties.size = array_size
            if attempts is not None:
                batch.retry_strategy.attempts = attempts
            target.batch_parameters.CopyFrom(batch)
            if said := _input(command, env, parameters):
                target.input = json.dumps(said)
            # It is not in force before it has its target.
            rule = pb.PutRuleRequest(
                name=name,
                schedule_expression=expression,
                state="DISABLED",
                description=description,
            )
        await self._check_free(name)
        made = await self._caller.unary(self._events.PutRule, rule, repeatable=False)
        try:
            await self._caller.unary(
                self._events.PutTargets, pb.PutTargetsRequest(rule=name, targets=[target])
            )
            await self._caller.unary(self._events.EnableRule, pb.EnableRuleRequest(name=name))
        except LongshoreError:
            await self._remove(name, [SCHEDULE_TARGET])
            raise
        return str(made.rule_arn)

    async def delete_schedule(self, name: str) -> None:
        """Deletes a rule that has a schedule, with its targets; jobs that it submitted go on.

        Raises:
            NotFound: there is no such rule.
            PreconditionFailed: it is a rule without a schedule.
        """
        rule, targets = await self.describe_rule(name)
        if not rule.schedule_expression:
            raise PreconditionFailed(f"Rule {name} has no schedule; it is a rule by a pattern.")
        await self._remove(name, [target.id for target in targets])

    async def _remove(self, name: str, targets: Sequence[str]) -> None:
        if targets:
            await self._caller.unary(
                self._events.RemoveTargets, pb.RemoveTargetsRequest(rule=name, ids=targets)
            )
        await self._caller.unary(self._events.DeleteRule, pb.DeleteRuleRequest(name=name))

    async def _check_free(self, name: str) -> None:
        try:
            await self._caller.unary(self._events.DescribeRule, pb.DescribeRuleRequest(name=name))
        except NotFound:
            return
        raise PreconditionFailed(f"There is a rule {name} already; delete it first.")

    async def _queue_arn(self, queue: str) -> str:
        with build.well_formed("jobQueue"):
            request = job_queue_pb2.DescribeJobQueuesRequest(job_queues=[queue])
        response = await self._caller.unary(self._submission.DescribeJobQueues, request)
        if not response.job_queues:
            raise NotFound(f"There is no job queue {queue}.")
        return str(response.job_queues[0].job_queue_arn)

    async def _check_definition(self, definition: str) -> None:
        """Whether there is one that jobs can be made of, as far as that is known now."""
        name, colon, _ = definition.rpartition("/")[2].partition(":")
        with build.well_formed("jobDefinition"):
            request = job_definition_pb2.DescribeJobDefinitionsRequest(
                job_definitions=[definition] if colon else [],
                job_definition_name=None if colon else name,
                status=None if colon else "ACTIVE",
                max_results=None if colon else 1,
            )
        response = await self._caller.unary(self._submission.DescribeJobDefinitions, request)
        if not any(one.status == "ACTIVE" for one in response.job_definitions):
            raise NotFound(f"There is no ACTIVE job definition {definition}.")


def _input(
    command: Sequence[str] | None,
    env: Mapping[str, str] | None,
    parameters: Mapping[str, str] | None,
) -> dict[str, object]:
    """What the job queue gets in place of the event: how jobs differ from the definition."""
    overrides: dict[str, object] = {}
    if command:
        overrides["Command"] = list(command)
    if env:
        overrides["Environment"] = [
            {"Name": name, "Value": value} for name, value in sorted(env.items())
        ]
    said: dict[str, object] = {"ContainerOverrides": overrides} if overrides else {}
    if parameters:
        said["Parameters"] = dict(parameters)
    return said
