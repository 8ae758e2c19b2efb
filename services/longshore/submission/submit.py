"""SubmitJob: many calls, one transaction.

A batch is decided call by call and written once: lookups first (queues, revisions, dependencies,
ids in use), then each call is resolved or refused by itself, then all that were resolved are stored
by one statement. What a call can do wrong is found before anything is written, so calls fail alone;
only the database fails them all.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Histogram

from longshore.domain.checks import Json
from longshore.domain.consumable import Units
from longshore.domain.environment import QueueFacts
from longshore.domain.errors import LimitExceeded, LongshoreError, Unavailable
from longshore.domain.fair_share import ACTIVE_MAX
from longshore.domain.limits import Limits
from longshore.domain.request.consumable import missing as missing_resource
from longshore.domain.request.submission import (
    TOKEN_SECONDS,
    Definition,
    KnownJob,
    ResolvedJob,
    Submission,
    UsedToken,
    check_array,
    check_dependencies,
    check_platform,
    check_queue,
    check_repetition,
    check_sharing,
    is_constant,
    missing_definition,
    repeated_job,
    resolve,
)
from longshore.domain.resources import Resources
from longshore.state.pool import Connection, Pool, transaction
from longshore.state.submission import job_submission as state
from longshore.state.submission import share as share_state
from longshore.state.submission import submission_token as token_state
from longshore.submission.batcher import Batcher
from longshore.submission.measuring import count_submitted

log = structlog.get_logger()

TRANSACTIONS = Counter(
    "longshore_submit_transactions_total", "Transactions that stored submitted jobs."
)
BATCH = Histogram(
    "longshore_submit_batch_calls",
    "SubmitJob calls per transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
DEFINITIONS_MAX = 2_000
SHAPES_MAX = 20_000
_DEPENDENCIES_OF_ONE = 20
#: Tokens forgotten in one transaction.
TOKENS_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Stored:
    """A resolved job in the form that the database takes."""

    detail: str
    #: Exactly one of `container`, `task` and `nodes` is there, by the kind of job.
    container: bytes | None
    task: bytes | None
    nodes: bytes | None
    #: Of a multi-node job, as `main_node`.
    num_nodes: int | None
    main_node: int | None
    instance_type: str
    needs: Resources
    attempts_max: int
    timeout_seconds: int | None
    priority: int
    units: Units


@dataclass(slots=True)
class _Cached:
    """A definition, and what all its plain submissions are, once one was made."""

    definition: Definition
    plain: _Stored | None = None


@dataclass(slots=True)
class _Lookups:
    """What a batch reads before it decides."""

    queues: Mapping[str, QueueFacts]
    revisions: Mapping[state.Reference, state.Reference]
    jobs: Mapping[uuid.UUID, KnownJob]
    tokens: Mapping[str, UsedToken]
    #: Positions of drafts of this batch, by the ids or tokens that their callers chose.
    taken: dict[uuid.UUID | str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Same:
    """A call that is the same as another one of its batch, and has the same result."""

    position: int


_Results = list["uuid.UUID | Exception | _Same | None"]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A call that will be stored: where it stands in its batch, and as what."""

    position: int
    job_id: uuid.UUID
    submission: Submission
    definition: Definition
    stored: _Stored


@dataclass(frozen=True, slots=True)
class Encoders:
    """How what runs is serialized."""

    #: Container properties, as agents get them.
    container: Callable[[Json], bytes]
    #: `ecsProperties`, as agents get them.
    task: Callable[[Json], bytes]
    #: Node properties, as the scheduler reads them.
    nodes: Callable[[Json], bytes]


class Submitter:
    """Stores submitted jobs."""

    def __init__(
        self,
        pool: Pool,
        encode: Encoders,
        limits: Limits,
    ) -> None:
        """Makes a submitter.

        Args:
            pool: of the database.
            encode: serializes what runs.
            limits: what submissions may ask for.
        """
        self._pool = pool
        self._encode = encode
        self.limits = limits
        self._batcher: Batcher[Submission, uuid.UUID] = Batcher(self._write, _weigh)
        # Revisions never change, so they are cached without a doubt; a shape stays for days after
        # it was last looked up.
        self._definitions: dict[state.Reference, _Cached] = {}
        self._shapes: dict[state.ShapeKey, int] = {}
        self._shapes_on = datetime.now(UTC).date()

    async def run(self) -> None:
        """Writes batches until cancelled."""
        await self._batcher.run()

    async def submit(self, submission: Submission) -> uuid.UUID:
        """Stores a job in the batch that comes next and returns its id.

        Raises:
            LongshoreError: why this call was refused.
        """
        return await self._batcher.submit(submission)

    async def _write(self, batch: Sequence[Submission]) -> Sequence[uuid.UUID | Exception]:
        """Writes a batch; one that the database refuses is halved until the fault stands alone.

        Where the database goes away between two halves, what was stored before stays stored.
        """
        try:
            return await self._write_once(batch)
        except LongshoreError as error:
            return [error] * len(batch)
        except Exception as error:
            log.exception("submission.refused_by_database", calls=len(batch))
            if len(batch) == 1:
                return [error]
            half = len(batch) // 2
            return [*await self._write(batch[:half]), *await self._write(batch[half:])]

    async def _write_once(self, batch: Sequence[Submission]) -> Sequence[uuid.UUID | Exception]:
        BATCH.observe(len(batch))
        added: dict[state.ShapeKey, int] = {}
        stored: set[uuid.UUID] = set()
        async with transaction(self._pool) as conn:
            lookups = await self._look_up(conn, batch)
            results, drafts = self._decide(batch, lookups)
            if any(draft.stored.units for draft in drafts):
                drafts = await _refuse_missing(conn, drafts, results)
            if any(draft.submission.share for draft in drafts):
                drafts = await _enter_shares(conn, drafts, results)
            if any(draft.submission.token for draft in drafts):
                drafts = await _claim_tokens(conn, drafts, results)
            if drafts:
                added = await self._add_shapes(conn, drafts)
                shapes = self._shapes | added if added else self._shapes
                stored = await state.insert_jobs(
                    conn, [_new_job(draft, shapes) for draft in drafts]
                )
                for draft in drafts:
                    if draft.job_id not in stored:
                        # Another process stored the same id meanwhile: asked again, the call finds
                        # it.
                        results[draft.position] = Unavailable(
                            f"Job {draft.job_id} is being submitted by another call; try again."
                        )
        self._keep_shapes(added)
        if drafts:
            TRANSACTIONS.inc()
            for draft in drafts:
                if draft.job_id in stored:
                    count_submitted(draft.submission.job_queue, draft.submission.array_size)
        return _complete(results)

    async def _look_up(self, conn: Connection, batch: Sequence[Submission]) -> _Lookups:
        queues = await state.lock_queues(conn, sorted({call.job_queue for call in batch}))
        revisions = await state.find_revisions(conn, list({_reference(call) for call in batch}))
        missing = [ref for ref in set(revisions.values()) if ref not in self._definitions]
        if missing:
            self._keep_definitions(await state.read_revisions(conn, missing))
        ids = {call.request_id for call in batch if call.request_id}
        ids.update(entry.job.job_id for call in batch for entry in call.depends_on if entry.job)
        jobs = await state.find_jobs(conn, list(ids)) if ids else {}
        texts = list({call.token.text for call in batch if call.token})
        tokens = await token_state.find(conn, texts, TOKEN_SECONDS) if texts else {}
        return _Lookups(queues, revisions, jobs, tokens)

    def _decide(
        self, batch: Sequence[Submission], lookups: _Lookups
    ) -> tuple[_Results, list[_Draft]]:
        results: _Results = [None] * len(batch)
        drafts: list[_Draft] = []
        for position in range(len(batch)):
            try:
                outcome = self._decide_one(position, batch, lookups)
            except LongshoreError as error:
                results[position] = error
            except Exception as error:
                log.exception("submission.failed")
                results[position] = error
            else:
                if isinstance(outcome, _Draft):
                    drafts.append(outcome)
                    results[position] = outcome.job_id
                else:
                    results[position] = outcome
        return results, drafts

    def _decide_one(
        self, position: int, batch: Sequence[Submission], lookups: _Lookups
    ) -> uuid.UUID | _Same | _Draft:
        """The id of the job that the call has made before, or the job that it makes."""
        call = batch[position]
        if (before := _repetition(call, batch, lookups)) is not None:
            return before
        queue = check_queue(call.job_queue, lookups.queues.get(call.job_queue))
        reference = lookups.revisions.get(_reference(call))
        if reference is None:
            raise missing_definition(call.definition)
        if call.refusal is not None and (refused := call.refusal(*reference)) is not None:
            raise refused
        check_sharing(call, queue)
        check_dependencies(call, lookups.jobs)
        cached = self._definitions[reference]
        check_platform(cached.definition, queue)
        check_array(cached.definition, call)
        stored = self._resolve(cached, call)
        if name := _own_name(call):
            lookups.taken[name] = position
        job_id = call.request_id or uuid.uuid4()
        return _Draft(position, job_id, call, cached.definition, stored)

    def _resolve(self, cached: _Cached, call: Submission) -> _Stored:
        if not call.is_plain:
            return self._store_form(resolve(cached.definition, call, self.limits))
        if cached.plain is not None:
            return cached.plain
        stored = self._store_form(resolve(cached.definition, call, self.limits))
        if is_constant(cached.definition):
            cached.plain = stored
        return stored

    def _store_form(self, resolved: ResolvedJob) -> _Stored:
        nodes, detail = resolved.nodes, resolved.detail
        return _Stored(
            detail=json.dumps(detail, separators=(",", ":")),
            container=self._encode.container(detail["container"])
            if "container" in detail
            else None,
            task=self._encode.task(detail["ecsProperties"]) if "ecsProperties" in detail else None,
            nodes=self._encode.nodes(nodes.properties) if nodes else None,
            num_nodes=nodes.num_nodes if nodes else None,
            main_node=nodes.main_node if nodes else None,
            instance_type=nodes.instance_type if nodes else "",
            needs=resolved.needs,
            attempts_max=resolved.attempts_max,
            timeout_seconds=resolved.timeout_seconds,
            priority=resolved.priority,
            units=resolved.units,
        )

    async def _add_shapes(
        self, conn: Connection, drafts: Sequence[_Draft]
    ) -> dict[state.ShapeKey, int]:
        today = datetime.now(UTC).date()
        if self._shapes_on != today:
            self._shapes_on = today
            self._shapes.clear()
        missing = {key for draft in drafts if (key := _shape_key(draft)) not in self._shapes}
        if not missing:
            return {}
        return await state.find_or_add_shapes(conn, sorted(missing, key=repr))

    def _keep_shapes(self, added: Mapping[state.ShapeKey, int]) -> None:
        """Only after the commit: a shape that was rolled back has no id.

        The shape of an array with a cap is never asked for again.
        """
        added = {key: shape_id for key, shape_id in added.items() if not key.max_running}
        if len(self._shapes) + len(added) > SHAPES_MAX:
            self._shapes.clear()
        self._shapes.update(added)

    def _keep_definitions(self, definitions: Sequence[Definition]) -> None:
        if len(self._definitions) + len(definitions) > DEFINITIONS_MAX:
            self._definitions.clear()
        for definition in definitions:
            self._definitions[definition.name, definition.revision] = _Cached(definition)


async def forget_tokens(pool: Pool) -> None:
    """Forgets tokens that are over."""
    while True:
        async with transaction(pool) as conn:
            if await token_state.prune(conn, TOKEN_SECONDS, TOKENS_MOST) < TOKENS_MOST:
                return


async def _refuse_missing(
    conn: Connection, drafts: Sequence[_Draft], results: _Results
) -> list[_Draft]:
    """The drafts that are left without those that need consumable resources which are not there."""
    names = {name for draft in drafts for name, _ in draft.stored.units}
    missing = await state.missing_resources(conn, names)
    left = []
    for draft in drafts:
        lacking = next((name for name, _ in draft.stored.units if name in missing), None)
        if lacking is None:
            left.append(draft)
        else:
            results[draft.position] = missing_resource(lacking)
    return left


async def _enter_shares(
    conn: Connection, drafts: Sequence[_Draft], results: _Results
) -> list[_Draft]:
    """Makes the shares of jobs known; the drafts that are left once no more may be active."""
    wanted = {(d.submission.job_queue, share) for d in drafts if (share := d.submission.share)}
    refused = await share_state.enter(conn, wanted, ACTIVE_MAX)
    left = []
    for draft in drafts:
        queue, share = draft.submission.job_queue, draft.submission.share or ""
        if (queue, share) in refused:
            results[draft.position] = LimitExceeded(
                f"JobQueue {queue} has {ACTIVE_MAX} active shares, the most that there may be; "
                f"submit {share}'s jobs once another share's are over."
            )
        else:
            left.append(draft)
    return left


async def _claim_tokens(
    conn: Connection, drafts: Sequence[_Draft], results: _Results
) -> list[_Draft]:
    """Takes the tokens of jobs; the drafts that are left where no other call has taken theirs."""
    wanted = {token: d.job_id for d in drafts if (token := d.submission.token)}
    try:
        used = await token_state.claim(conn, wanted, TOKEN_SECONDS)
    except Unavailable:
        # Calls without a token do not wait for one that hangs in another process.
        for draft in drafts:
            if draft.submission.token:
                results[draft.position] = Unavailable(
                    "Another call with one of the tokens of this moment is under way; try again."
                )
        return [draft for draft in drafts if not draft.submission.token]
    left = []
    for draft in drafts:
        token = draft.submission.token
        if token is None or token.text not in used:
            left.append(draft)
            continue
        try:
            results[draft.position] = repeated_job(token, used[token.text])
        except LongshoreError as error:
            results[draft.position] = error
    return left


def _own_name(call: Submission) -> uuid.UUID | str | None:
    """What the caller chose so that the call can be repeated."""
    return call.token.text if call.token else call.request_id


def _repetition(
    call: Submission, batch: Sequence[Submission], lookups: _Lookups
) -> uuid.UUID | _Same | None:
    """The call's job if it is there, or the call of the batch that makes it."""
    if call.token and call.token.text in lookups.tokens:
        return repeated_job(call.token, lookups.tokens[call.token.text])
    if call.request_id and call.request_id in lookups.jobs:
        check_repetition(call, lookups.jobs[call.request_id])
        return call.request_id
    name = _own_name(call)
    if name is None or name not in lookups.taken:
        return None
    position = lookups.taken[name]
    if batch[position] != call:
        raise Unavailable("Another call with this token or request id is under way; try again.")
    return _Same(position)


def _weigh(call: Submission) -> int:
    """Each few dependencies are as much work as a job."""
    return 1 + len(call.depends_on) // _DEPENDENCIES_OF_ONE


def _reference(call: Submission) -> state.Reference:
    return call.definition.name, call.definition.revision or 0


def _shape_key(draft: _Draft) -> state.ShapeKey:
    call, stored = draft.submission, draft.stored
    return state.ShapeKey.of(
        draft.job_id,
        call.job_queue,
        stored.needs,
        nodes=stored.num_nodes,
        instance_type=stored.instance_type,
        priority=stored.priority,
        share=call.share,
        max_running=call.max_running,
        units=stored.units,
    )


def _new_job(draft: _Draft, shapes: Mapping[state.ShapeKey, int]) -> state.NewJob:
    call = draft.submission
    return state.NewJob(
        job_id=draft.job_id,
        job_queue=call.job_queue,
        shape_id=shapes[_shape_key(draft)],
        name=call.job_name,
        definition_name=draft.definition.name,
        definition_revision=draft.definition.revision,
        array_size=call.array_size,
        num_nodes=draft.stored.num_nodes,
        main_node=draft.stored.main_node,
        attempts_max=draft.stored.attempts_max,
        timeout_seconds=draft.stored.timeout_seconds,
        detail=draft.stored.detail,
        container=draft.stored.container,
        task=draft.stored.task,
        nodes=draft.stored.nodes,
        tags=call.tags or {},
        depends_on=call.waits_for,
        share=call.share,
        units=draft.stored.units,
        trace=call.trace,
        submitted_by=call.submitted_by,
    )


def _complete(results: _Results) -> list[uuid.UUID | Exception]:
    """Every call has its result: an id or a refusal."""
    complete = []
    for result in results:
        own = results[result.position] if isinstance(result, _Same) else result
        if own is None or isinstance(own, _Same):
            raise RuntimeError("A call of a batch was left undecided.")
        complete.append(own)
    return complete
