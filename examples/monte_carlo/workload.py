"""The workload: its definitions, its two jobs, its result."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from examples.monte_carlo import fleet
from examples.monte_carlo.pricing import Option
from longshore_client import Client, build

HERE = Path(__file__).parent
IMAGE = "busybox:latest"
SEED = 20_260_000


@dataclass(frozen=True)
class Workload:
    """How much is simulated, and where the results go."""

    results: Path
    option: Option = field(default_factory=Option)
    children: int = 100
    paths: int = 16_000
    queue: str = fleet.NAME

    async def submit(self, client: Client) -> tuple[str, str]:
        """Registers the definitions and submits both jobs; their ids, the array's first."""
        mount = [(str(self.results), str(self.results), False)]
        shared = {"RESULTS": str(self.results)}
        simulate = await client.register_container_definition(
            "monte-carlo-simulate",
            build.container(
                IMAGE,
                ["awk", (HERE / "price.awk").read_text()],
                memory_mib=64,
                env=shared
                | self.option.environment()
                | {"PATHS": str(self.paths), "SEED": str(SEED)},
                mounts=mount,
            ),
        )
        combine = await client.register_container_definition(
            "monte-carlo-combine",
            build.container(
                IMAGE,
                ["awk", (HERE / "combine.awk").read_text()],
                memory_mib=64,
                env=shared | {"CHILDREN": str(self.children)},
                mounts=mount,
            ),
        )
        array_id = await client.submit_job(
            "simulate", queue=self.queue, definition=simulate, array_size=self.children
        )
        reduce_id = await client.submit_job(
            "combine", queue=self.queue, definition=combine, depends_on=[array_id]
        )
        return array_id, reduce_id

    def price(self) -> tuple[float, float]:
        """The price and its standard error, once both jobs SUCCEEDED."""
        price, error, _ = (self.results / "price").read_text().split()
        return float(price), float(error)

    def ran_twice(self) -> list[int]:
        """Children that were started more than once."""
        started = Counter(
            int(line.split()[0]) for line in (self.results / "started").read_text().splitlines()
        )
        return sorted(child for child, times in started.items() if times > 1)
