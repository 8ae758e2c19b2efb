"""Complete logs in an S3-compatible store, so that they outlive the machine and scale past it.

What agents send is stored on the machine's disk first, as ever: the store is in nobody's way when
a log is written. Once a log is complete it is uploaded, and beside it stands a mark (`.archived`)
with its size: from then on the file is a copy, which may go when there is no room for it
(`archiving`). Who reads a log whose file has gone gets ranges of its object. An object has the name
of its file, below the prefix, so the mark can be made again from a listing.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from longshore.domain.errors import NotFound, Unavailable
from longshore.logs.marks import EVERY_BYTES
from longshore.runtime.aws import Api, RefusedByAws, chunks, open_api

log = structlog.get_logger()

#: A larger log is uploaded in parts of so many bytes; S3 takes 10,000 parts of 5 MiB at least.
PART_BYTES = 16 * 1024 * 1024
CALL_SECONDS = 30.0
#: How long a thread waits for a range.
READ_SECONDS = 60.0
#: Threads that wait for the store at one time. The others are for logs on the disk, which a store
#: that does not answer is not to hold up.
READS_MOST = 16
THREADS = 3 * READS_MOST
#: Objects that are deleted with one call.
DELETED_AT_ONCE = 1_000
#: S3 has no other name for a part that is not there.
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
#: What is got of a log at one time, and how many of these are kept in memory.
BLOCK_BYTES = 1024 * 1024
BLOCKS_KEPT = 32
#: More than what stands beside a log may have.
BESIDE_BYTES = 64 * 1024 * 1024
MARK = ".archived"
#: What stands beside a log that is not told by it, or would take reading all of it.
BESIDE = (".marks", ".name")


@dataclass(frozen=True, slots=True)
class ArchiveConfig:
    """Where the store is."""

    bucket: str
    #: Of the names of objects, `/` at its end included; may be empty.
    prefix: str
    region: str
    endpoint_url: str = ""
    #: Bytes of copies that are kept on the disk.
    cache_bytes: int = 10 * 1024**3


class Found(NamedTuple):
    """An object of a listing."""

    name: str
    size: int
    #: When it was uploaded, in epoch seconds.
    at: float


class LogArchive:
    """The objects of a directory of logs."""

    def __init__(self, config: ArchiveConfig, directory: Path) -> None:
        """Makes one that is not open yet; needs a running event loop.

        Args:
            config: where the store is.
            directory: where the files are.
        """
        self._config = config
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._reads = threading.BoundedSemaphore(READS_MOST)
        #: Of logs that were read last: they do not change.
        self._blocks: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._opened: asyncio.Future[Api] = self._loop.create_future()

    def open(self, api: Api) -> None:
        """Lets go on who waits for the store."""
        self._opened.set_result(api)

    def refuse(self) -> None:
        """Tells who waits for the store that it will not be there."""
        if not self._opened.done():
            why = "The store of complete logs cannot be opened; the log service's own log says why."
            self._opened.set_exception(Unavailable(why))
            self._opened.exception()  # as good as told, if nobody waits

    async def upload(self, path: Path) -> int:
        """Uploads a file that does not change any more, and marks it; returns its size.

        Raises:
            Unavailable: the store does not answer, or has something else now.
            RefusedByAws: it says no.
            OSError: the file cannot be read, or the mark not be written.
        """
        size = await asyncio.to_thread(lambda: path.stat().st_size)
        if size > PART_BYTES:
            await self._upload_parts(path, size)
            found = await self._call("head_object", path)
            if found.get("ContentLength") != size:
                raise Unavailable(f"{self._config.bucket} has another length of {path.name} now.")
        else:
            data = await asyncio.to_thread(_read, path, 0, size)
            await self._call("put_object", path, Body=data, ContentMD5=_md5(data))
        # Of a short log that is made of it at once; most have no other.
        for suffix in BESIDE if size > EVERY_BYTES else BESIDE[1:]:
            beside = path.with_suffix(suffix)
            with contextlib.suppress(FileNotFoundError):
                data = await asyncio.to_thread(beside.read_bytes)
                await self._call("put_object", beside, Body=data, ContentMD5=_md5(data))
        await asyncio.to_thread(write_mark, path, size)
        return int(size)

    async def _upload_parts(self, path: Path, size: int) -> None:
        upload_id = (await self._call("create_multipart_upload", path))["UploadId"]
        try:
            parts = []
            for number, begin in enumerate(range(0, size, PART_BYTES), 1):
                data = await asyncio.to_thread(_read, path, begin, min(begin + PART_BYTES, size))
                answer = await self._call(
                    "upload_part",
                    path,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=data,
                    ContentMD5=_md5(data),
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            await self._call(
                "complete_multipart_upload",
                path,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            # Parts that nobody completes are paid for; what cannot be told now expires by the
            # bucket's own rules.
            with contextlib.suppress(Unavailable, RefusedByAws):
                await self._call("abort_multipart_upload", path, UploadId=upload_id)
            raise

    async def read(self, path: Path, begin: int, end: int) -> bytes:
        """Bytes of a log from a position to another, as far as they are there.

        Raises:
            NotFound: the store does not have it.
            Unavailable: it does not answer, or says no.
        """
        data = bytearray()
        first = begin // BLOCK_BYTES
        for number in range(first, -(-end // BLOCK_BYTES)):
            block = await self._block(path, number)
            data += block
            if len(block) < BLOCK_BYTES:
                break
        return bytes(data[begin - first * BLOCK_BYTES : max(0, end - first * BLOCK_BYTES)])

    async def _block(self, path: Path, number: int) -> bytes:
        """A block of a log, which the next reader may want, too."""
        key = path, number
        block = self._blocks.get(key)
        if block is None:
            block = await self._range(path, number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES)
            self._blocks[key] = block
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block

    async def _range(self, path: Path, begin: int, end: int) -> bytes:
        try:
            answer = await self._call("get_object", path, Range=f"bytes={begin}-{end - 1}")
        except RefusedByAws as error:
            if error.code == "InvalidRange":
                return b""
            if error.code in _ABSENT:
                raise NotFound(
                    f"{self._config.bucket} has no {self._key(path)} any more."
                ) from error
            raise Unavailable(f"{self._config.bucket} does not let be read: {error}") from error
        try:
            async with asyncio.timeout(CALL_SECONDS), answer["Body"] as body:
                data: bytes = await body.read()
        except TimeoutError as error:
            raise Unavailable(f"{self._config.bucket} does not go on with {path.name}.") from error
        return data

    def read_on_thread(self, path: Path, begin: int, end: int) -> bytes:
        """The same for whoever reads on a thread, as logs are read."""
        if not self._reads.acquire(blocking=False):
            raise Unavailable("Too many wait for the store of complete logs; try again.")
        try:
            return self._read_on_thread(path, begin, end)
        finally:
            self._reads.release()

    def _read_on_thread(self, path: Path, begin: int, end: int) -> bytes:
        reading = asyncio.run_coroutine_threadsafe(self.read(path, begin, end), self._loop)
        try:
            return reading.result(READ_SECONDS)
        except TimeoutError:
            reading.cancel()
            raise Unavailable(f"{self._config.bucket} does not answer in time.") from None

    async def delete(self, paths: Collection[Path]) -> None:
        """Deletes objects; those that are not there are as good as deleted.

        Raises:
            Unavailable: the store does not answer, or not all could be deleted.
            RefusedByAws: it says no.
        """
        gone = set(paths)
        for key in [key for key in self._blocks if key[0] in gone]:
            del self._blocks[key]
        keys = [
            self._key(path.with_suffix(suffix)) for path in paths for suffix in (".log", *BESIDE)
        ]
        for some in chunks(keys, DELETED_AT_ONCE):
            answer = await (await self._store()).call(
                "delete_objects",
                Bucket=self._config.bucket,
                Delete={"Objects": [{"Key": key} for key in some], "Quiet": True},
            )
            if errors := answer.get("Errors"):
                raise Unavailable(
                    f"{self._config.bucket} did not delete {len(errors)} objects: "
                    f"{errors[0].get('Message')}"
                )

    async def restore(self) -> int:
        """Marks what is in the store and not known here, as after a new machine; returns how many.

        Raises:
            Unavailable: the store does not answer.
            RefusedByAws: it says no.
        """
        count = 0
        members: dict[str, Any] = {"Prefix": self._config.prefix}
        while True:
            answer = await (await self._store()).call(
                "list_objects_v2", Bucket=self._config.bucket, **members
            )
            found = [
                Found(
                    entry["Key"].removeprefix(self._config.prefix),
                    int(entry["Size"]),
                    entry["LastModified"].timestamp(),
                )
                for entry in answer.get("Contents", ())
            ]
            count += await asyncio.to_thread(_restore, self._directory, found)
            for path in await asyncio.to_thread(_beside, self._directory, found):
                data = await self._range(path, 0, BESIDE_BYTES)
                await asyncio.to_thread(path.write_bytes, data)
            if not answer.get("NextContinuationToken"):
                return count
            members["ContinuationToken"] = answer["NextContinuationToken"]

    async def _call(self, operation: str, path: Path, **members: Any) -> Any:
        return await (await self._store()).call(
            operation, Bucket=self._config.bucket, Key=self._key(path), **members
        )

    async def _store(self) -> Api:
        """The store, once it is open; who gives up waiting gives up for himself alone."""
        return await asyncio.shield(self._opened)

    def _key(self, path: Path) -> str:
        return f"{self._config.prefix}{path.relative_to(self._directory).as_posix()}"


@contextlib.asynccontextmanager
async def open_archive(config: ArchiveConfig, directory: Path) -> AsyncIterator[LogArchive]:
    """The store, with credentials from AWS's own chain.

    AWS's library takes seconds to load: that is done meanwhile, and who wants the store waits.
    """
    archive = LogArchive(config, directory)
    task = asyncio.create_task(_hold_open(archive, config))
    try:
        yield archive
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _hold_open(archive: LogArchive, config: ArchiveConfig) -> None:
    try:
        await _open(archive, config)
    except Exception:
        log.exception("archive.not_opened")
        archive.refuse()


async def _open(archive: LogArchive, config: ArchiveConfig) -> None:
    async with open_api(
        "s3",
        region=config.region,
        endpoint_url=config.endpoint_url or None,
        call_seconds=CALL_SECONDS,
        # Stores that are none of AWS's have no names of hosts for their buckets, and know no
        # checksums but MD5, which goes along.
        s3={"addressing_style": "path" if config.endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ) as api:
        archive.open(api)
        await asyncio.Event().wait()


def archived_size(path: Path) -> int:
    """The size of a log that is in the store; -1 if it is not there."""
    try:
        return int(path.with_suffix(MARK).read_text())
    except (FileNotFoundError, ValueError):
        return -1


def write_mark(path: Path, size: int) -> None:
    """Marks that a log is in the store. The mark has the time of the log, by which that is old."""
    mark = path.with_suffix(MARK)
    scratch = path.with_suffix(".mark")
    scratch.write_text(str(size))
    if path.exists():
        stat = path.stat()
        os.utime(scratch, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    scratch.replace(mark)


def _beside(directory: Path, found: Collection[Found]) -> list[Path]:
    """What is not here of what stands beside logs that only the store has."""
    paths = [directory / name for name, _, _ in found if name.endswith(BESIDE) and _is_ours(name)]
    return [path for path in paths if not path.exists() and not path.with_suffix(".log").exists()]


def _is_ours(name: str) -> bool:
    """Whether an object's name is one that a file of ours has."""
    folder, _, file = name.partition("/")
    return len(folder) == 2 and folder.isalnum() and bool(file) and "/" not in file


def _restore(directory: Path, found: Collection[Found]) -> int:
    count = 0
    for name, size, at in found:
        path = directory / name
        is_log = name.endswith(".log") and _is_ours(name)
        if not is_log or path.exists() or path.with_suffix(MARK).exists():
            continue
        path.parent.mkdir(exist_ok=True)
        write_mark(path, size)
        path.with_suffix(".complete").touch(0o640)
        for suffix in (MARK, ".complete"):
            os.utime(path.with_suffix(suffix), (at, at))
        count += 1
    return count


def _read(path: Path, begin: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(end - begin)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
