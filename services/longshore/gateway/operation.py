"""The operations of services, found in their descriptors: names, messages, how to read requests."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from longshore.domain.errors import InvalidRequest
from longshore.gateway.codec import Reader, Writer
from longshore.gateway.fault import BATCH, Names
from longshore.rpc.refused import refusal_of
from longshore.v1 import options_pb2

#: Most parameters of one query string; AWS's operations take up to 50.
QUERY_PARAMETERS = 200
#: Query parameters that carry a signature rather than a member.
_SIGNATURE_PREFIX = "X-Amz-"


class Operation(ABC):
    """One rpc as it is reached over HTTP."""

    #: How the errors of its service are called.
    names: Names
    media_type: str
    #: Bytes that a body may have, where that is more than others may.
    body_bytes = 0

    def __init__(self, method: MethodDescriptor) -> None:
        self.name = method.name
        #: Of an operation that is not there; nothing of its requests is read.
        self.refusal = refusal_of(method)
        self.service: str = method.containing_service.full_name
        #: Of the service, as in `batch.amazonaws.com`.
        self.source: str = method.containing_service.GetOptions().Extensions[
            options_pb2.event_source
        ]
        self.rpc = f"/{self.service}/{method.name}"
        #: Whether it answers with a stream of messages.
        self.streams: bool = method.server_streaming
        self.request_class = GetMessageClass(method.input_type)
        self.response_class = GetMessageClass(method.output_type)
        self._writer = Writer.of(method.output_type)

    @abstractmethod
    def read(self, segments: list[str], query: str, body: Any) -> Message:
        """The request's message; raises InvalidRequest naming the member that is wrong."""

    def write(self, response: Message) -> dict[str, Any]:
        """The answer's JSON object."""
        return self._writer.write(response)


class TargetOperation(Operation):
    """One rpc of a service that speaks AWS's JSON protocol (`longshore.v1.json_service`).

    Its members are the body's.
    """

    media_type = "application/x-amz-json-1.1"

    def __init__(self, method: MethodDescriptor, service: options_pb2.JsonService) -> None:
        if method.GetOptions().HasExtension(options_pb2.http):
            raise TypeError(f"{method.full_name} has both a route and a target")
        super().__init__(method)
        #: As `X-Amz-Target` says it.
        self.name = f"{service.target_prefix}.{method.name}"
        self.names = Names(
            invalid_request=service.invalid_request,
            not_found=service.not_found,
            limit_exceeded=service.limit_exceeded,
            precondition_failed=service.precondition_failed,
            unavailable="ServiceUnavailableException",
            internal="InternalFailure",
        )
        self.body_bytes = service.body_bytes
        self._reader = Reader.of(method.input_type)

    def read(self, _segments: list[str], query: str, body: Any) -> Message:
        """The request's message; raises InvalidRequest naming the member that is wrong."""
        if query:
            raise InvalidRequest("Members of this request belong into its body, not into a query.")
        message = self.request_class()
        self._reader.read(message, body)
        return message


class RouteOperation(Operation):
    """One rpc with its HTTP route (`longshore.v1.http`).

    Members in the path's template come from the path; the others from the body when the route has
    one, else from the query string, where a list repeats its name.
    """

    names = BATCH
    media_type = "application/json"

    def __init__(self, method: MethodDescriptor) -> None:
        rule = method.GetOptions().Extensions[options_pb2.http]
        pattern = rule.WhichOneof("pattern")
        if pattern is None or rule.body not in ("", "*"):
            raise TypeError(f"{method.full_name}: longshore.v1.http is missing or not supported")
        super().__init__(method)
        self.http_method = pattern.upper()
        #: Segments of the path; those in braces are the names of fields.
        self.template = tuple(getattr(rule, pattern).split("/"))
        self._bind(method.input_type, with_body=rule.body == "*")

    def _bind(self, request: Descriptor, *, with_body: bool) -> None:
        fields = request.fields_by_name
        self._labels = {
            index: fields[segment[1:-1]].json_name
            for index, segment in enumerate(self.template)
            if segment.startswith("{")
        }
        reader = Reader.of(request)
        in_path = set(self._labels.values())
        others = reader.members - in_path
        self._lists = {field.json_name for field in request.fields if field.is_repeated}
        self._path_reader = reader.only(in_path)
        self._query_reader = reader.only(() if with_body else others)
        self._body_reader = reader.only(others if with_body else ())

    def matches(self, segments: list[str]) -> bool:
        """Whether a raw path, still percent-encoded, is this operation's."""
        return len(segments) == len(self.template) and all(
            segment != "" if index in self._labels else segment == expected
            for index, (segment, expected) in enumerate(zip(segments, self.template, strict=True))
        )

    def read(self, segments: list[str], query: str, body: Any) -> Message:
        """The request's message; raises InvalidRequest naming the member that is wrong."""
        message = self.request_class()
        labels = {name: _decoded(segments[index]) for index, name in self._labels.items()}
        self._path_reader.read(message, labels)
        if query:
            self._query_reader.read(message, self._members(query))
        self._body_reader.read(message, body)
        return message

    def _members(self, query: str) -> dict[str, Any]:
        try:
            values = parse_qs(
                query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS
            )
        except ValueError:
            raise InvalidRequest(
                f"The query string must be UTF-8 and hold at most {QUERY_PARAMETERS} parameters."
            ) from None
        return {
            name: found if name in self._lists else found[-1]
            for name, found in values.items()
            if not name.startswith(_SIGNATURE_PREFIX)
        }


def _decoded(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("The path must be UTF-8.") from None


class Operations:
    """All operations: by their targets, and by their routes.

    Routes are looked up by raw paths: a decoded `%2F` would cut an ARN in two.
    """

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        self.all: list[Operation] = []
        self._targets: dict[str, TargetOperation] = {}
        self._fixed: dict[str, dict[str, RouteOperation]] = {}
        self._templated: list[RouteOperation] = []
        for service in services:
            options = service.GetOptions()
            if options.HasExtension(options_pb2.json_service):
                json_service = options.Extensions[options_pb2.json_service]
                for method in service.methods:
                    target = TargetOperation(method, json_service)
                    self._targets[target.name] = target
                    self.all.append(target)
            else:
                for method in service.methods:
                    self._add(RouteOperation(method))

    def _add(self, route: RouteOperation) -> None:
        self.all.append(route)
        if any(segment.startswith("{") for segment in route.template):
            self._templated.append(route)
        else:
            self._fixed.setdefault("/".join(route.template), {})[route.http_method] = route

    def target(self, name: str) -> TargetOperation | None:
        """The operation that a header `X-Amz-Target` names."""
        return self._targets.get(name)

    def routes(self, path: str, segments: list[str]) -> Mapping[str, RouteOperation]:
        """The operations at a raw path, by HTTP method; none when the path is nobody's."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed
        return {route.http_method: route for route in self._templated if route.matches(segments)}
