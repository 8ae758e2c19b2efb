"""What a machine is, and where others reach it."""

import socket

import psutil
import pytest

from longshore.agent import machine


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])
async def test_a_scheduler_on_this_machine_is_reached_by_loopback(host: str) -> None:
    assert await machine.address_toward(f"{host}:7071") == "127.0.0.1"


async def test_the_address_is_that_of_the_route() -> None:
    """Any address of this machine leads to that address itself."""
    own = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family is socket.AF_INET
    }
    for address in own:
        assert await machine.address_toward(f"{address}:7071") == address


async def test_no_way_by_ipv4() -> None:
    with pytest.raises(socket.gaierror):
        await machine.address_toward("[2001:db8::1]:7071")
