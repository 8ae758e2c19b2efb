"""Everything on the wire is explained where it is declared, in our own words."""

import html
import re
from collections.abc import Iterator
from itertools import pairwise

from botocore.model import ServiceModel, StructureShape
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

Path = tuple[int, ...]
FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES, FILE_EXTENSIONS = 4, 5, 6, 7
MESSAGE_FIELDS, MESSAGE_MESSAGES, MESSAGE_ENUMS = 2, 3, 4
ENUM_VALUES = SERVICE_METHODS = 2


def enum_parts(enum: EnumDescriptorProto, path: Path, scope: str) -> Iterator[tuple[str, Path]]:
    name = f"{scope}{enum.name}"
    yield name, path
    for index, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, ENUM_VALUES, index)


def message_parts(message: DescriptorProto, path: Path, scope: str) -> Iterator[tuple[str, Path]]:
    if message.options.map_entry:
        return
    name = f"{scope}{message.name}"
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.json_name}", (*path, MESSAGE_FIELDS, index)
    for index, nested in enumerate(message.nested_type):
        yield from message_parts(nested, (*path, MESSAGE_MESSAGES, index), f"{name}.")
    for index, enum in enumerate(message.enum_type):
        yield from enum_parts(enum, (*path, MESSAGE_ENUMS, index), f"{name}.")


def parts(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    """Everything in a file that needs a comment, with its place in the file."""
    for index, message in enumerate(file.message_type):
        yield from message_parts(message, (FILE_MESSAGES, index), "")
    for index, enum in enumerate(file.enum_type):
        yield from enum_parts(enum, (FILE_ENUMS, index), "")
    for index, extension in enumerate(file.extension):
        yield extension.name, (FILE_EXTENSIONS, index)
    for index, service in enumerate(file.service):
        yield service.name, (FILE_SERVICES, index)
        for at, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (FILE_SERVICES, index, SERVICE_METHODS, at)


def comments(image: list[FileDescriptorProto]) -> dict[str, str]:
    """The comment before each part of all files, empty where there is none."""
    found = {}
    for file in image:
        locations = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
        }
        for name, path in parts(file):
            found[name] = " ".join(locations.get(path, "").split())
    return found


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", html.unescape(re.sub(r"<[^>]+>", " ", text)).lower())


def clauses(text: str) -> list[list[str]]:
    """The words between marks, so that a list of names is no sentence in common."""
    return [words(clause) for clause in re.split(r"[,.;:]", text)]


def longest_shared_run(ours: list[str], theirs: list[str]) -> int:
    """Length of the longest run of words that both texts have."""
    best, row = 0, [0] * (len(theirs) + 1)
    for word in ours:
        row = [0] + [
            before + 1 if word == other else 0
            for other, (before, _) in zip(theirs, pairwise(row), strict=True)
        ]
        best = max(best, *row)
    return best


def test_everything_has_a_comment(image: list[FileDescriptorProto]) -> None:
    bare = [name for name, comment in comments(image).items() if not comment]
    assert not bare


def test_comments_name_every_allowed_value(
    image: list[FileDescriptorProto], aws_structures: dict[str, StructureShape]
) -> None:
    said = comments(image)
    for name, structure in aws_structures.items():
        for member, shape in structure.members.items():
            one = getattr(shape, "member", shape)
            for value in getattr(one, "enum", ()):
                assert value in said[f"{name}.{member}"], f"{name}.{member}: {value}"


def test_comments_are_our_own_words(
    image: list[FileDescriptorProto],
    aws: ServiceModel,
    aws_structures: dict[str, StructureShape],
) -> None:
    """No comment shares a run of words with AWS's text that chance would not explain."""
    said = comments(image)
    theirs = {
        f"{structure.name}.{member}": shape.documentation
        for structure in aws_structures.values()
        for member, shape in structure.members.items()
    }
    theirs |= {
        f"SubmissionService.{name}": aws.operation_model(name).documentation
        for name in aws.operation_names
    }
    copied = {
        name: said[name]
        for name, text in theirs.items()
        if name in said
        and any(longest_shared_run(clause, words(text)) >= 8 for clause in clauses(said[name]))
    }
    assert not copied
