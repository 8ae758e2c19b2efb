"""SQS queues and SNS topics, at AWS or at whoever speaks its protocol."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import structlog

from longshore.domain.arn import Arns
from longshore.domain.errors import LongshoreError
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.text import sent_text
from longshore.runtime.aws import Api, NoCredentials, RefusedByAws, open_api
from longshore.state.events.delivery import Delivery, GivenUp, Lane, TargetRecord

log = structlog.get_logger()

CALL_SECONDS = 5.0
#: Longest value of an attribute of a dead letter.
ATTRIBUTE_CHARACTERS = 1_000
SQS, SNS = "sqs", "sns"
#: Queues whose URL is remembered.
URLS = 1_000
#: Refusals that pass by themselves.
_PASSING = frozenset({"RequestThrottled", "KmsThrottled", "InternalError", "ServiceUnavailable"})


class AwsClients:
    """One client for each service and region, made when it is first called."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self._apis: dict[tuple[str, str], Api] = {}
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, service: str, arn: str, operation: str, **members: Any) -> Any:
        """Calls an operation of a service in the region of an ARN.

        Raises:
            DeliveryFailed: it did not go through.
        """
        try:
            api = await self._api(service, arn.split(":")[3])
            return await api.call(operation, **members)
        except RefusedByAws as error:
            again = error.is_throttle or error.code in _PASSING
            raise DeliveryFailed(error.code, error.aws_message, again=again) from None
        except NoCredentials as error:
            raise DeliveryFailed("NO_CREDENTIALS", error.message) from None
        except LongshoreError as error:
            raise DeliveryFailed("CONNECTION", error.message) from None

    async def _api(self, service: str, region: str) -> Api:
        async with self._turn:
            api = self._apis.get((service, region))
            if api is None:
                opened = open_api(service, region=region, call_seconds=CALL_SECONDS)
                api = await self._stack.enter_async_context(opened)
                self._apis[service, region] = api
            return api

    async def queue_url(self, arn: str) -> str:
        """The URL of a queue.

        Raises:
            DeliveryFailed: there is none.
        """
        known = self._urls.get(arn)
        if known is None:
            account, name = arn.split(":")[4:6]
            members = {"QueueName": name, "QueueOwnerAWSAccountId": account}
            found = await self.call(SQS, arn, "get_queue_url", **members)
            known = str(found["QueueUrl"])
            if len(self._urls) < URLS:
                self._urls[arn] = known
        return known


class Queues:
    """Sends events to SQS queues, and there also what was given up."""

    def __init__(self, clients: AwsClients, arns: Arns) -> None:
        self._clients = clients
        self._arns = arns

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Sends an event; see `Sender`."""
        members: dict[str, object] = {
            "QueueUrl": await self._clients.queue_url(target.arn),
            "MessageBody": sent_text(self._arns, lane, target, one),
        }
        if target.arn.endswith(".fifo"):
            group = target.target.get("SqsParameters", {}).get("MessageGroupId", lane.rule)
            members |= {"MessageGroupId": group, "MessageDeduplicationId": str(one.event_id)}
        await self._clients.call(SQS, target.arn, "send_message", **members)

    async def bury(
        self,
        arn: str,
        lane: Lane,
        target: TargetRecord,
        letters: Sequence[tuple[Delivery, GivenUp]],
    ) -> None:
        """Sends what was given up to a queue, with EventBridge's attributes."""
        for one, grave in letters:
            attributes = {
                "RULE_ARN": self._arns.event_rule(lane.bus, lane.rule),
                "TARGET_ARN": target.arn,
                "ERROR_CODE": grave.error_code,
                "ERROR_MESSAGE": grave.error,
                "EXHAUSTED_RETRY_CONDITION": grave.condition,
                "RETRY_ATTEMPTS": str(grave.tries - 1),
            }
            try:
                await self._clients.call(
                    SQS,
                    arn,
                    "send_message",
                    QueueUrl=await self._clients.queue_url(arn),
                    MessageBody=one.event,
                    MessageAttributes={
                        name: {
                            "DataType": "String",
                            "StringValue": value[:ATTRIBUTE_CHARACTERS] or "-",
                        }
                        for name, value in attributes.items()
                    },
                )
            except DeliveryFailed as failure:
                log.warning("dead_letter.not_sent", queue=arn, error=failure.message)
                return


class Topics:
    """Publishes events to SNS topics."""

    def __init__(self, clients: AwsClients, arns: Arns) -> None:
        self._clients = clients
        self._arns = arns

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Publishes an event; see `Sender`."""
        members: dict[str, object] = {
            "TopicArn": target.arn,
            "Message": sent_text(self._arns, lane, target, one),
        }
        if target.arn.endswith(".fifo"):
            members |= {
                "MessageGroupId": lane.rule,
                "MessageDeduplicationId": str(one.event_id),
            }
        await self._clients.call(SNS, target.arn, "publish", **members)
