"""The catalogue against EC2's own figures, and read anew from EC2."""

import asyncio
import gzip
import json
import os
import sys
from dataclasses import replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from ec2.stand import Stand
from support.patience import PATIENCE_SECONDS

from longshore.domain.catalogue import Catalogue, parse_catalogue, visible_mib
from longshore.provisioning.ec2.api import open_api
from longshore.provisioning.ec2.catalogue import refresh
from longshore.provisioning.ec2.config import Ec2Config
from longshore.runtime.config import ConfigError, Settings
from longshore.runtime.host import open_catalogue

TODAY = date(2026, 1, 31)
#: Not made any more when moto last asked EC2.
RETIRED = {"p3.2xlarge", "p3.8xlarge", "p3.16xlarge", "u-9tb1.112xlarge", "u-12tb1.112xlarge"}


@pytest.fixture
def config(config: Ec2Config) -> Ec2Config:
    return replace(config, call_seconds=60)


def test_the_built_in_catalogue_has_ec2s_figures() -> None:
    """Of every type that EC2 has, as it answered to the authors of moto."""
    packed = resources.files("moto.ec2.resources").joinpath("instance_types.json.gz").read_bytes()
    real: dict[str, Any] = json.loads(gzip.decompress(packed))
    kinds = list(Catalogue())
    assert {kind.name for kind in kinds} - set(real) <= RETIRED
    for kind in kinds:
        if kind.name not in real:
            continue
        shown = real[kind.name]
        cards = shown.get("GpuInfo", {}).get("Gpus", ())
        assert (kind.vcpus, kind.memory_mib, kind.gpus) == (
            shown["VCpuInfo"]["DefaultVCpus"],
            visible_mib(shown["MemoryInfo"]["SizeInMiB"]),
            sum(card["Count"] for card in cards),
        ), kind
        assert kind.architecture in shown["ProcessorInfo"]["SupportedArchitectures"]


def _price_list(**prices: float) -> str:
    """The price list's answer, with double underscores for dots."""
    products = [
        json.dumps(
            {
                "product": {"attributes": {"instanceType": name.replace("__", ".")}},
                "terms": {"OnDemand": {"a": {"priceDimensions": {"b": {
                    "pricePerUnit": {"USD": str(price)}
                }}}}},
            }
        )
        for name, price in prices.items()
    ]  # fmt: skip
    return json.dumps({"FormatVersion": "aws_v1", "PriceList": products})


async def test_types_and_prices_are_read_anew(stand: Stand) -> None:
    """New types come with the price list's price, known ones keep theirs where it has none."""
    stand.proxy.answers["GetProducts"] = _price_list(c6i__large=0.5, t3__micro=0.0104)
    async with open_api("pricing", stand.config) as pricing:
        got = await refresh(stand.ec2, pricing, "us-east-1", Catalogue(), TODAY)
    assert got.trouble == ""
    assert got.document["as_of"] == "2026-01-31"
    kinds = {kind.name: kind for kind in parse_catalogue(json.dumps(got.document))}
    assert kinds["c6i.large"].price_per_hour == 0.5
    assert kinds["t3.micro"].price_per_hour == 0.0104
    assert kinds["g5.48xlarge"].gpus == 8
    assert kinds["m6g.large"].architecture == "arm64"
    before = Catalogue().get("m5.large")
    assert before is not None
    assert kinds["m5.large"] == before
    assert "m5.large" in got.kept
    assert "t3.large" in got.left_out
    assert not {name for name in kinds if name.startswith(("mac", "g4ad"))}


async def test_without_a_price_list_known_prices_stay(stand: Stand) -> None:
    """And why it was not read is said."""
    stand.proxy.refused["GetProducts"] = ("AccessDeniedException", "Not for you.")
    async with open_api("pricing", stand.config) as pricing:
        got = await refresh(stand.ec2, pricing, "us-east-1", Catalogue(), TODAY)
    assert "AccessDenied" in got.trouble or "Not for you" in got.trouble
    names = {kind.name for kind in parse_catalogue(json.dumps(got.document))}
    assert len(names) >= 340
    assert names <= {kind.name for kind in Catalogue()}


async def _longshore(*arguments: str, **environ: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from longshore_cli.main import main; main()",
        "catalogue",
        *arguments,
        env=os.environ | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    # EC2's stand-in describes all its types again for each page.
    out, err = await asyncio.wait_for(process.communicate(), 3 * PATIENCE_SECONDS)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_writes_a_file_that_services_read(stand: Stand, tmp_path: Path) -> None:
    """Whole: refreshed, listed, and taken by LONGSHORE_CATALOGUE."""
    stand.proxy.answers["GetProducts"] = _price_list(c6i__large=0.5, t3__micro=0.0104)
    path = tmp_path / "new" / "catalogue.json"
    code, _, err = await _longshore(
        "refresh", "-o", str(path), LONGSHORE_EC2_ENDPOINT_URL=stand.proxy.url
    )
    assert code == 0, err
    assert "types keep the price known before" in err
    assert [item.name for item in path.parent.iterdir()] == ["catalogue.json"]
    catalogue = open_catalogue(Settings({"LONGSHORE_CATALOGUE": str(path)}))
    kind = catalogue.get("t3.micro")
    assert kind is not None
    assert kind.price_per_hour == 0.0104
    assert catalogue.get("local.host") is not None
    code, out, _ = await _longshore(
        "list", "--family", "t3", "--json", LONGSHORE_CATALOGUE=str(path)
    )
    assert code == 0
    assert [item["name"] for item in json.loads(out)] == ["t3.micro"]
    code, out, _ = await _longshore("list", "--family", "t3", LONGSHORE_CATALOGUE=str(path))
    assert out.splitlines()[1].split() == [
        "t3.micro",
        "x86_64",
        "2",
        str(kind.offer.memory_mib),
        "0.0104",
    ]


async def test_the_command_says_what_goes_wrong(stand: Stand, tmp_path: Path) -> None:
    """A family that is not there, a file that is none, an EC2 that says no: nothing is written."""
    code, _, err = await _longshore("list", "--family", "q9")
    assert (code, "q9" in err) == (1, True)
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    code, _, err = await _longshore("list", LONGSHORE_CATALOGUE=str(bad))
    assert code == 1
    assert "LONGSHORE_CATALOGUE" in err
    stand.proxy.refused["DescribeInstanceTypes"] = ("UnauthorizedOperation", "Not for you.")
    path = tmp_path / "never.json"
    code, _, err = await _longshore(
        "refresh", "-o", str(path), LONGSHORE_EC2_ENDPOINT_URL=stand.proxy.url
    )
    assert code == 1
    assert "Not for you" in err
    assert not path.exists()


def test_a_catalogue_that_cannot_be_used_stops_a_service(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LONGSHORE_CATALOGUE"):
        open_catalogue(Settings({"LONGSHORE_CATALOGUE": str(tmp_path / "none.json")}))
