"""Launch templates: made from compute environments, once, and removed when nothing uses them."""

import base64
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ec2.stand import STACK, Stand, an_order, entry

from longshore.domain.errors import Unavailable
from longshore.provisioning.ec2.template import UNUSED_FOR


async def _templates(stand: Stand) -> list[dict[str, Any]]:
    return await stand.ec2.pages("describe_launch_templates", "LaunchTemplates")


async def _data(stand: Stand, name: str | None = None) -> dict[str, Any]:
    """What the only, or the named, template of longshore's holds."""
    if name is None:
        (name,) = [
            template["LaunchTemplateName"]
            for template in await _templates(stand)
            if template["LaunchTemplateName"].startswith("longshore-")
        ]
    answer = await stand.ec2.call(
        "describe_launch_template_versions", LaunchTemplateName=name, Versions=["1"]
    )
    data: dict[str, Any] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


def _user_data(data: dict[str, Any]) -> str:
    return base64.b64decode(data["UserData"]).decode()


async def test_a_template_has_what_the_environment_says(stand: Stand) -> None:
    """Image, profile, key, groups, user data; tokens for the metadata service."""
    got = await stand.fulfil(
        an_order(entry(), generation=3),
        imageId="ami-0123456789abcdef0",
        ec2KeyPair="mine",
        placementGroup="close",
    )
    assert len(got.instances) == 1
    (template,) = await _templates(stand)
    assert template["LaunchTemplateName"].startswith("longshore-blue-3-")
    tags = {tag["Key"]: tag["Value"] for tag in template["Tags"]}
    assert tags == {
        "longshore:stack": STACK,
        "longshore:compute-environment": "blue",
        "longshore:generation": "3",
    }
    data = await _data(stand)
    assert data["ImageId"] == "ami-0123456789abcdef0"
    assert data["IamInstanceProfile"] == {"Name": "ecsInstanceRole"}
    assert data["KeyName"] == "mine"
    assert data["SecurityGroupIds"] == ["sg-0123456789abcdef0"]
    assert data["Placement"]["GroupName"] == "close"
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert 'LONGSHORE_COMPUTE_ENVIRONMENT="blue"' in _user_data(data)


async def test_one_template_serves_all_orders(stand: Stand) -> None:
    """Of an environment and generation, and for a provider that starts anew."""
    await stand.fulfil(an_order(entry()))
    await stand.fulfil(an_order(entry("m6i.large")))
    await stand.fulfil(an_order(entry("m6i.large")), await stand.another())
    assert len(await _templates(stand)) == 1
    assert stand.proxy.count("CreateLaunchTemplate") == 2


async def test_an_update_makes_another_one(stand: Stand) -> None:
    """A new generation boots with what the update says, beside the old one."""
    await stand.fulfil(an_order(entry(), generation=1), imageId="ami-00000000000000001")
    await stand.fulfil(an_order(entry(), generation=2), imageId="ami-00000000000000002")
    names = sorted(template["LaunchTemplateName"] for template in await _templates(stand))
    assert [name[:16] for name in names] == ["longshore-blue-1", "longshore-blue-2"]
    assert [(await _data(stand, name))["ImageId"][-1] for name in names] == ["1", "2"]
    images = {instance["ImageId"] for instance in await stand.instances()}
    assert images == {"ami-00000000000000001", "ami-00000000000000002"}


async def test_images_by_class(stand: Stand) -> None:
    """The newest of AWS's for the architecture; types with GPUs have one of their own."""
    await stand.fulfil(an_order(entry("c6i.large"), entry("g5.xlarge")))
    names = [template["LaunchTemplateName"] for template in await _templates(stand)]
    assert len(names) == 2
    images = {(await _data(stand, name))["ImageId"] for name in names}
    assert len(images) == 2
    assert all(image.startswith("ami-") for image in images)
    asked = [
        members[f"LaunchTemplateConfigs.{number}.Overrides.1.InstanceType"]
        for action, members in stand.proxy.calls
        if action == "CreateFleet"
        for number in (1, 2)
    ]
    assert asked == ["c6i.large", "g5.xlarge"]


async def test_images_that_are_named(stand: Stand) -> None:
    """The override of the class, before `imageId`, before the setting."""
    configured = await stand.another(replace(stand.config, image="ami-00000000000000009"))
    await stand.fulfil(an_order(entry(), generation=1), configured)
    await stand.fulfil(
        an_order(entry(), entry("g5.xlarge"), generation=2),
        configured,
        imageId="ami-00000000000000001",
        ec2Configuration=[
            {"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": "ami-00000000000000002"}
        ],
    )
    names = sorted(template["LaunchTemplateName"] for template in await _templates(stand))
    images = [(await _data(stand, name))["ImageId"][-1] for name in names]
    assert images[0] == "9"
    assert sorted(images[1:]) == ["1", "2"]


async def test_an_image_type_that_aws_does_not_have(stand: Stand) -> None:
    """The order says so; nothing is launched."""
    got = await stand.fulfil(
        an_order(entry()), ec2Configuration=[{"imageType": "ECS_OWN_INVENTION"}]
    )
    assert got.instances == ()
    assert [error.reason for error in got.errors] == ["PROVIDER_ERROR"]
    assert "ECS_OWN_INVENTION" in got.errors[0].message


async def test_the_environments_own_template(stand: Stand) -> None:
    """What it says holds where the environment says nothing; user data come one after the other."""
    await stand.ec2.call(
        "create_launch_template",
        LaunchTemplateName="theirs",
        LaunchTemplateData={
            "ImageId": "ami-00000000000000007",
            "KeyName": "theirs",
            "EbsOptimized": True,
            "SecurityGroupIds": ["sg-00000000000000007"],
            "UserData": base64.b64encode(b"#!/bin/sh\necho theirs\n").decode(),
        },
    )
    await stand.fulfil(
        an_order(entry()), launchTemplate={"launchTemplateName": "theirs", "version": "$Latest"}
    )
    data = await _data(stand)
    assert data["ImageId"] == "ami-00000000000000007"
    assert data["KeyName"] == "theirs"
    assert data["EbsOptimized"] is True
    assert data["SecurityGroupIds"] == ["sg-0123456789abcdef0"]
    text = _user_data(data)
    assert text.index("echo theirs") < text.index("longshore-agent")


async def _give_template(stand: Stand, **data: object) -> dict[str, Any]:
    """A template of somebody's own, as `computeResources` name it."""
    await stand.ec2.call(
        "create_launch_template", LaunchTemplateName="theirs", LaunchTemplateData=data
    )
    return {"launchTemplate": {"launchTemplateName": "theirs"}}


async def test_instances_may_be_ended_whatever_their_template_says(stand: Stand) -> None:
    """Protected from that they would cost for ever."""
    resources = await _give_template(stand, DisableApiTermination=True)
    got = await stand.fulfil(an_order(entry()), **resources)
    assert not (await _data(stand)).get("DisableApiTermination")
    await stand.provider.terminate([one.instance_id for one in got.instances], force=True)
    assert await stand.instances() == []


async def test_user_data_that_is_no_text_is_refused(stand: Stand) -> None:
    """Ours could not be added to it."""
    compressed = base64.b64encode(gzip.compress(b"#!/bin/sh\necho theirs\n")).decode()
    got = await stand.fulfil(an_order(entry()), **await _give_template(stand, UserData=compressed))
    assert got.instances == ()
    assert "compressed" in got.errors[0].message


async def test_a_template_of_ours_that_somebody_deleted_is_made_again(stand: Stand) -> None:
    """Also where the environment has one of its own."""
    resources = await _give_template(stand, EbsOptimized=True)
    await stand.fulfil(an_order(entry()), **resources)
    code = "InvalidLaunchTemplateName.NotFoundException"
    stand.proxy.refused["CreateFleet"] = (code, "It does not exist.")
    with pytest.raises(Unavailable):
        await stand.fulfil(an_order(entry()), **resources)
    stand.proxy.refused.clear()
    (ours,) = [t for t in await _templates(stand) if t["LaunchTemplateName"] != "theirs"]
    await stand.ec2.call("delete_launch_template", LaunchTemplateId=ours["LaunchTemplateId"])
    assert len((await stand.fulfil(an_order(entry()), **resources)).instances) == 1
    assert len(await _templates(stand)) == 2


async def test_a_template_that_is_not_there(stand: Stand) -> None:
    """Told with EC2's words."""
    got = await stand.fulfil(an_order(entry()), launchTemplate={"launchTemplateName": "never-made"})
    assert got.instances == ()
    assert [error.reason for error in got.errors] == ["PROVIDER_ERROR"]


async def test_a_root_volume_of_a_size(stand: Stand) -> None:
    """At the image's own device."""
    made = await stand.ec2.call("register_image", Name="own")
    (image,) = (await stand.ec2.call("describe_images", ImageIds=[made["ImageId"]]))["Images"]
    large = await stand.another(replace(stand.config, volume_gib=100))
    await stand.fulfil(an_order(entry()), large, imageId=image["ImageId"])
    (device,) = (await _data(stand))["BlockDeviceMappings"]
    assert device["DeviceName"] == image["RootDeviceName"]
    assert device["Ebs"]["VolumeSize"] == 100


async def test_templates_that_nothing_uses_go(stand: Stand) -> None:
    """Only this stack's, only old ones: instances need none once they run."""
    await stand.fulfil(an_order(entry(), generation=1))
    got = await stand.fulfil(an_order(entry(), generation=2))
    await stand.fulfil(an_order(entry(), generation=2), await stand.another(holder="other"))
    old = [one.instance_id for one in got.instances]
    await stand.provider.terminate(
        [i["InstanceId"] for i in await stand.instances() if i["InstanceId"] not in old],
        force=False,
    )
    sweep = stand.provider._templates.sweep
    now = datetime.now(UTC)
    assert await sweep(now) == 0
    assert await sweep(now + UNUSED_FOR + timedelta(minutes=1)) == 2
    (left,) = await _templates(stand)
    assert left["LaunchTemplateName"].startswith("longshore-blue-2")
    # The next order of that generation makes it anew.
    again = await stand.fulfil(an_order(entry(), generation=1))
    assert len(again.instances) == 1
    assert len(await _templates(stand)) == 2


async def test_describing_sweeps_now_and_then(stand: Stand) -> None:
    """Not with each call."""
    await stand.provider.describe()
    assert stand.proxy.count("DescribeLaunchTemplates") == 0
    stand.provider._swept_at -= timedelta(minutes=11)
    await stand.provider.describe()
    await stand.provider.describe()
    assert stand.proxy.count("DescribeLaunchTemplates") == 1


async def test_a_sweep_that_is_not_permitted_does_no_harm(stand: Stand) -> None:
    stand.proxy.refused["DescribeLaunchTemplates"] = ("UnauthorizedOperation", "No.")
    assert await stand.provider._templates.sweep(datetime.now(UTC)) == 0
