"""Workload files: what is accepted, and the sentence that tells what is wrong and where."""

from pathlib import Path

import pytest

from longshore.domain.errors import InvalidRequest, LimitExceeded
from longshore.simulation.prepare import prepare
from longshore.simulation.workload import parse, read

WHOLE = """
computeEnvironments:
  - {name: A, maxvCpus: 4, instanceTypes: [c6i.large]}
  - {name: S, type: SPOT, allocationStrategy: SPOT_CAPACITY_OPTIMIZED, maxvCpus: 4}
  - {name: F, type: FARGATE, maxvCpus: 4}
queues:
  - {name: q, priority: 2, computeEnvironmentOrder: [A, S]}
  - {name: f, computeEnvironmentOrder: [F]}
jobs:
  - {name: one, queue: q, duration: 5m}
  - {name: many, queue: q, count: 3, duration: {distribution: lognormal, median: 1h, sigma: 1}}
  - {name: array, queue: q, arraySize: 3, duration: 90, dependsOn: [{type: SEQUENTIAL}]}
  - {name: pairs, queue: q, arraySize: 3, duration: 90, dependsOn: [{job: array, type: N_TO_N}]}
  - {name: slot, queue: f, vcpus: 0.25, memory: 512, duration: 90}
  - {name: stream, queue: q, duration: 1, repeat: {every: 10m, times: 3}}
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "workload.yaml"
    path.write_text(WHOLE)
    prepared = prepare(read(path))
    assert [environment.resource_type for environment in prepared.environments.values()] == [
        "EC2",
        "SPOT",
        "FARGATE",
    ]
    sizes = {job.part.name: job.size for job in prepared.jobs}
    assert sizes == {"one": 1, "many": 3, "array": 3, "pairs": 3, "slot": 1, "stream": 1}
    times = [job.submit_us for job in prepared.jobs if job.part.name == "stream"]
    assert times == [0, 600_000_000, 1_200_000_000]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("5m", "5x", "$.jobs[0]: duration is '5x', which is no duration such as 90, 90s, 5m"),
        ("5m", ".nan", "$.jobs[0]: duration must be from 0 to ten years."),
        ("1h, sigma", "0, sigma", "$.jobs[1].duration: median must be above 0."),
        ("lognormal", "zeta", "$.jobs[1].duration.distribution: invalid value 'zeta'."),
        ("priority: 2", "priority: two", "$.queues[0].priority: expected `int`, got `str`."),
        ("priority: 2", "prio: 2", "$.queues[0]: object contains unknown field `prio`."),
        ("maxvCpus: 4, inst", "inst", "$.computeEnvironments[0]: object missing required field"),
        ("[A, S]", "[A, B]", "$.queues[0].computeEnvironmentOrder[1]: there is no compute"),
        ("[A, S]", "[A, A]", "$.queues[0].computeEnvironmentOrder[1]: 'A' is named twice."),
        ("[A, S]", "[A, F]", "$.queues[0].computeEnvironmentOrder: Fargate and EC2 cannot be"),
        ("[A, S]", "[A, S, F, A]", "$.queues[0].computeEnvironmentOrder: expected `array` of"),
        ("name: S", "name: A", "$.computeEnvironments[1].name: there are two compute"),
        ("name: many", "name: one", "$.jobs[1].name: there are two jobs 'one'."),
        ("name: f,", "name: q,", "$.queues[1].name: there are two queues 'q'."),
        ("name: many", "name: a b", "$.jobs[1].name: name must have 1 to 128 letters"),
        ("one, queue: q", "one, queue: x", "$.jobs[0].queue: there is no queue 'x'."),
        ("c6i.large", "c6i.tiny", "$.computeEnvironments[0].instanceTypes[0]: "),
        ("c6i.large", "c6i, m6g", "$.computeEnvironments[0].instanceTypes: "),
        ("SPOT_CAPACITY_OPTIMIZED", "BEST", "$.computeEnvironments[1].allocationStrategy: "),
        ("type: SPOT,", "", "$.computeEnvironments[1].allocationStrategy: SPOT_CAPACITY_"),
        ("type: FARGATE", "type: FARGATE, minvCpus: 1", "$.computeEnvironments[2].minvCpus: "),
        ("vcpus: 0.25", "vcpus: 0.3", "$.jobs[4]: vcpus must be a multiple of 0.25."),
        ("memory: 512", "memory: 513", "$.jobs[4]: 0.25 vCPUs with 513 MiB is no Fargate size."),
        ("job: array", "job: nothing", "$.jobs[3].dependsOn[0]: there is no job 'nothing'."),
        ("job: array", "job: many", None),
        ("job: array", "job: one", "$.jobs[3].dependsOn[0]: N_TO_N needs two arrays of one"),
        ("job: array", "job: pairs", "$.jobs[3].dependsOn: jobs wait for each other in a circle."),
        ("times: 3", "times: 3, lasting: 1h", "$.jobs[5].repeat: repeat needs either times or"),
        ("every: 10m", "every: 0", "$.jobs[5].repeat: every must be above 0."),
        ("count: 3", "count: 3, arraySize: 0", "$.jobs[1].arraySize: expected `int` >= 1."),
        ("arraySize: 3, duration: 90, dependsOn: [{t", "duration: 90, dependsOn: [{t", "$.jobs[2]"),
        ("duration: 5m", "duration: 5m, vcpus: 2000", "$.jobs[0].vcpus: expected `float` <= 1024"),
        (
            "duration: 5m",
            "duration: 5m, evaluateOnExit: [{action: RETRY, onExitCode: '1.'}]",
            "$.jobs[0].evaluateOnExit: ",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_with_its_path(
    old: str, new: str, message: str | None
) -> None:
    assert old in WHOLE
    content = WHOLE.replace(old, new, 1).encode()
    if message is None:
        prepare(parse(content))
        return
    with pytest.raises(InvalidRequest) as raised:
        prepare(parse(content))
    assert raised.value.message.startswith(message)
    assert raised.value.message.endswith(".")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "$: expected `object`, got `null`."),
        (b"[1, 2]", "$: expected `object`, got `array`."),
        (b"a: [", "The file cannot be read as YAML: did not find expected node content in line"),
        (b"a: &x 1\nb: *x", "$: aliases of YAML (*name) are not supported."),
        (b"\xff\xfe\xfd", "The file cannot be read as YAML: "),
        (b"a: !!python/object/apply:os.getcwd []", "The file cannot be read as YAML: "),
        (
            b"queues: 1\nseed: 1\nqueues: 2\n",
            "The file cannot be read as YAML: 'queues' is there twice in line 3",
        ),
        (b"? [a, b]\n: 1\n? {c: d}\n: 2", "The file cannot be read as YAML: "),
        (b"1: 2", "The file cannot be read as YAML: the name of a member is no text in line 1,"),
        (b"seed: 99999999999999999999999999", "$"),
        (b"name: 2020-01-01", "$.name: expected `str`, got `date`."),
        (b'name: "\\e[31m"', "$.name: "),
        (b"[" * 5_000, "$: nested more than 32 levels deep."),
        (b"[" * 100_000, "$: nested more than 32 levels deep."),
        (b"- " * 100_000, "$: nested more than 32 levels deep."),
    ],
)
def test_what_is_no_workload_is_told(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(content)
    assert raised.value.message.startswith(message)


def test_market_members_must_name_what_is_known() -> None:
    for member, message in (
        ("pools: [{zone: z}]", "$.market.pools[0].zone: there is no zone 'z' in $.market.zones."),
        ("pools: [{instanceTypes: [x1y]}]", "$.market.pools[0].instanceTypes[0]: 'x1y' is not"),
        ("shortages: [{begins: 2h, ends: 1h}]", "$.market.shortages[0]: a shortage must end"),
        ("boot: 1y", "$.market: boot is '1y', which is no duration"),
    ):
        with pytest.raises(InvalidRequest) as raised:
            prepare(parse(f"{WHOLE}\nmarket: {{{member}}}".encode()))
        assert raised.value.message.startswith(message)


def test_a_million_jobs_are_enough() -> None:
    for part in ("count: 1000000", "repeat: {every: 1s, lasting: 300h}"):
        with pytest.raises(LimitExceeded, match="more than 1,000,000 jobs"):
            prepare(parse(f"{WHOLE}  - {{name: x, queue: q, duration: 1, {part}}}\n".encode()))


def test_arrivals_at_random_come_at_their_rate_and_by_the_seed() -> None:
    part = "- {name: x, queue: q, duration: 1, repeat: {poissonPerHour: 600, lasting: 10h}}"

    def arrivals(seed: int) -> list[int]:
        prepared = prepare(parse(f"{WHOLE}  {part}\nseed: {seed}\n".encode()))
        return [job.submit_us for job in prepared.jobs if job.part.name == "x"]

    times = arrivals(1)
    assert 6000 - 400 < len(times) < 6000 + 400
    assert times == sorted(times)
    assert max(times) <= 10 * 3600 * 1_000_000
    assert times == arrivals(1) != arrivals(2)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        read(tmp_path / "nothing.yaml")
    with pytest.raises(InvalidRequest, match="cannot be read: Is a directory"):
        read(tmp_path)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (5 * 1024 * 1024))
    with pytest.raises(InvalidRequest, match="larger than 4 MiB"):
        read(large)
