"""What agents are told of the environment that `longshore up` has."""

import inspect
import re

from longshore.agent import config
from longshore.provisioning.ec2 import config as ec2
from longshore.provisioning.local.provider import PASSED_ON

#: What provisioning says of each instance, or of itself.
_SAID = {
    "LONGSHORE_JOIN",
    "LONGSHORE_JOIN_TOKEN_FILE",
    "LONGSHORE_RUNTIME",
    "LONGSHORE_INSTANCE_ID",
    "LONGSHORE_DATA_DIR",
    "LONGSHORE_COMPUTE_ENVIRONMENT",
    "LONGSHORE_INSTANCE_TYPE",
    "LONGSHORE_VCPU_MILLI",
    "LONGSHORE_MEMORY_MIB",
    "LONGSHORE_GPUS",
}
#: What is one agent's alone: its port, what a machine in a cloud says, that it joined by itself,
#: where the log of its engine is.
_ITS_OWN = {
    "LONGSHORE_ENGINE_LOG",
    "LONGSHORE_AGENT_METRICS_ADDRESS",
    "LONGSHORE_METADATA",
    "LONGSHORE_METADATA_ENDPOINT",
    "LONGSHORE_METADATA_SECONDS",
    "LONGSHORE_UNMANAGED",
    "LONGSHORE_JOIN_TOKEN",
}


#: What is of no use on another machine, or lies on this one.
_HERE = {
    "LONGSHORE_PROCESS_LENIENT",
    "LONGSHORE_SECRETS_FILE",
    "LONGSHORE_SECRETS_KEY_FILE",
}


def test_each_setting_of_an_agent_reaches_the_agents_that_provisioning_starts() -> None:
    settings = set(re.findall(r"\bLONGSHORE_[A-Z_]*[A-Z]\b", inspect.getsource(config)))
    passed_on = settings - _SAID - _ITS_OWN
    assert passed_on == {name for name in PASSED_ON if name.startswith("LONGSHORE_")}
    assert passed_on - _HERE == set(ec2.PASSED_ON)
