"""The catalogue of instance types, shown and read anew from EC2.

`python -m longshore.provisioning.ec2.catalogue list` prints the types that services use here, as
JSON; `refresh` writes a file for LONGSHORE_CATALOGUE. The `longshore catalogue` command calls both.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from longshore.domain.catalogue import Catalogue, InstanceType, parse_catalogue
from longshore.domain.errors import LongshoreError
from longshore.provisioning.ec2.api import Api, open_api
from longshore.provisioning.ec2.config import Ec2Config
from longshore.runtime.config import Settings
from longshore.runtime.host import catalogue_types

#: The price list is answered in few regions, for all of them.
PRICING_REGION = "us-east-1"
_COLUMNS = ["vcpus", "memory_mib", "gpus", "on-demand price in US dollars per hour"]
#: Linux on shared machines, on demand, nothing else installed.
_PRICES = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A new catalogue, and what is to be said of it."""

    document: dict[str, Any]
    #: Types whose price is the one known before, and those left out for want of any.
    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    #: Why the price list was not read; empty if it was.
    trouble: str


async def refresh(
    ec2: Api, pricing: Api | None, region: str, known: Catalogue, today: date
) -> Refreshed:
    """Reads types and prices of a region.

    Args:
        ec2: where types are read.
        pricing: where prices are read; None: keep those that are known.
        region: whose types and prices.
        known: prices for types that the price list does not have.
        today: the date to put on it.

    Raises:
        RefusedByAws: AWS does not show its types.
        Unavailable: AWS does not answer.
    """
    prices: Mapping[str, float] = {}
    trouble = ""
    if pricing is not None:
        try:
            prices = await _read_prices(pricing, region)
        except LongshoreError as error:
            trouble = error.message
    families: dict[str, dict[str, Any]] = {}
    kept, left_out = [], []
    shown = await ec2.pages("describe_instance_types", "InstanceTypes", MaxResults=100)
    for name, architecture, figures in sorted(_types(shown), key=_by_family_and_size):
        price = prices.get(name)
        if price is None:
            before = known.get(name)
            if before is None:
                left_out.append(name)
                continue
            price = before.price_per_hour
            kept.append(name)
        family = families.setdefault(
            name.partition(".")[0], {"architecture": architecture, "types": {}}
        )
        family["types"][name] = [*figures, round(price, 6)]
    document = {
        "as_of": today.isoformat(),
        "region": region,
        "note": "On-demand prices of Linux instances, from AWS's price list where it had them.",
        "columns": _COLUMNS,
        "families": families,
    }
    return Refreshed(document, tuple(kept), tuple(left_out), trouble)


def _types(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, list[int]]]:
    """Name, architecture and figures of types that agents run on: no Macs, no 32 bits.

    Types with GPUs that are not NVIDIA's are left out, as agents do not see those.
    """
    for kind in shown:
        architectures = kind["ProcessorInfo"].get("SupportedArchitectures", ())
        architecture = next((one for one in ("x86_64", "arm64") if one in architectures), None)
        cards = kind.get("GpuInfo", {}).get("Gpus", ())
        usages = kind.get("SupportedUsageClasses", ("on-demand",))
        if (
            architecture is None
            or "on-demand" not in usages
            or any(card.get("Manufacturer") != "NVIDIA" for card in cards)
        ):
            continue
        figures = [
            kind["VCpuInfo"]["DefaultVCpus"],
            kind["MemoryInfo"]["SizeInMiB"],
            sum(card["Count"] for card in cards),
        ]
        yield kind["InstanceType"], architecture, figures


def _by_family_and_size(kind: tuple[str, str, list[int]]) -> tuple[str, list[int], str]:
    return kind[0].partition(".")[0], kind[2], kind[0]


async def _read_prices(pricing: Api, region: str) -> dict[str, float]:
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in {**_PRICES, "regionCode": region}.items()
    ]
    products = await pricing.pages(
        "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters, MaxResults=100
    )
    prices: dict[str, float] = {}
    for text in products:
        product = json.loads(text)
        name = product["product"]["attributes"].get("instanceType")
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                price = float(dimension["pricePerUnit"].get("USD", 0))
                if name and price > 0:
                    prices[name] = price
    return prices


def _shown(kind: InstanceType) -> dict[str, Any]:
    return {
        "name": kind.name,
        "family": kind.family,
        "architecture": kind.architecture,
        "vcpus": kind.vcpus,
        "memoryMib": kind.offer.memory_mib,
        "gpus": kind.gpus,
        "pricePerHour": kind.price_per_hour,
    }


async def _refresh(arguments: argparse.Namespace, settings: Settings) -> int:
    region = arguments.region or settings.text(
        "AWS_REGION", settings.text("AWS_DEFAULT_REGION", "us-east-1")
    )
    config = Ec2Config(
        region=region,
        endpoint_url=settings.text("LONGSHORE_EC2_ENDPOINT_URL", "") or None,
        scheduler_address="",
        logs_address="",
        join_address="",
    )
    known = Catalogue(types=catalogue_types(settings))
    async with (
        open_api("ec2", config) as ec2,
        open_api("pricing", config, region=PRICING_REGION) as pricing,
    ):
        got = await refresh(ec2, pricing, region, known, datetime.now(UTC).date())
    return _write(got, arguments.output)


def _write(got: Refreshed, path: Path) -> int:
    """Writes the file in whole or not at all, and says what there is to say of it."""
    text = json.dumps(got.document, indent=1)
    count = len(parse_catalogue(text))
    say = sys.stderr.write
    if got.trouble:
        say(f"The price list was not read: {got.trouble}\n")
    if not count:
        say("There is no type with a known price; nothing is written.\n")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text + "\n", "utf-8")
    partial.replace(path)
    if got.kept:
        say(f"{len(got.kept)} types keep the price known before: {_some(got.kept)}.\n")
    if got.left_out:
        say(f"{len(got.left_out)} types without a known price are left out: ")
        say(f"{_some(got.left_out)}.\n")
    region = got.document["region"]
    say(f"{count} types of {region} are in {path}; services use it with LONGSHORE_CATALOGUE set.\n")
    return 0


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    kinds = [
        kind
        for kind in Catalogue(types=catalogue_types(settings))
        if arguments.family in (None, kind.family)
    ]
    json.dump([_shown(kind) for kind in kinds], sys.stdout)
    return 0


def main() -> int:
    """Does what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="longshore catalogue")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list").add_argument("--family")
    refreshing = commands.add_parser("refresh")
    refreshing.add_argument("--region")
    refreshing.add_argument("--output", required=True, type=Path)
    arguments = parser.parse_args()
    settings = Settings(os.environ)
    try:
        if arguments.command == "list":
            return _list(arguments, settings)
        return asyncio.run(_refresh(arguments, settings))
    except (LongshoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
