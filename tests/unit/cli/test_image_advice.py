"""What is found about images, by the sizes and steps of their layers."""

import pytest

from longshore.v1 import image_service_pb2
from longshore_cli.images.advice import (
    GIB,
    MIB,
    Check,
    Difference,
    Image,
    Kind,
    Layer,
    Place,
    by_place,
    compare,
    findings,
    is_moving,
)
from longshore_cli.images.engine import layers_of
from longshore_cli.images.fleet import Measured, expected_seconds, measured
from longshore_cli.images.registry import steps_of
from longshore_cli.images.words import WORDS, said, size


def _image(*sizes: int, step: str = "") -> Image:
    return Image(tuple(Layer(f"sha256:{n}", size, step) for n, size in enumerate(sizes)))


def _checks(image: Image, difference: Difference | None = None) -> list[Check]:
    return [finding.check for finding in findings(image, difference)]


def test_the_image_of_32_9_gb_with_one_copy_of_26_8() -> None:
    """What is found of a well-known case: 81 % of the bytes came with one COPY of a directory."""
    image = Image(
        (
            Layer("sha256:0", 29 * 10**6, "/bin/sh -c #(nop) ADD file:4d192565a7220e13 in / "),
            Layer("sha256:1", 1_571 * 10**6, "/bin/sh -c apt-get update && apt-get install -y x"),
            Layer("sha256:2", 4_500 * 10**6, "/bin/sh -c pip install torch"),
            Layer("sha256:3", 26_800 * 10**6, "/bin/sh -c #(nop) COPY dir:66d1a in /opt/app "),
        )
    )
    assert image.size_bytes == 32_900 * 10**6
    found = findings(image)
    assert [finding.check for finding in found] == [
        Check.VERY_LARGE,
        Check.LARGEST_LAYER,
        Check.DATA,
    ]
    largest = found[1]
    assert (largest.layer, round(largest.value, 2)) == (3, 0.81)
    assert said(largest).found.startswith("Layer 4 has 81% of all bytes")
    assert by_place(image) == {
        Place.MACHINE_IMAGE: 6_100 * 10**6,
        Place.CONTAINER: 0,
        Place.RUN_TIME: 26_800 * 10**6,
    }


@pytest.mark.parametrize(
    ("image", "checks"),
    [
        (_image(), []),
        (_image(0, 32), []),
        (_image(2 * GIB), [Check.LARGEST_LAYER]),
        (_image(*[GIB // 2] * 4), []),
        (_image(*[GIB // 2] * 4, 1), [Check.LARGE]),
        (_image(*[GIB] * 11), [Check.VERY_LARGE]),
        # More than half, but no more than a GiB; and more, but no more than half.
        (_image(GIB, GIB // 2), []),
        (_image(GIB + 1, GIB // 4, GIB // 4), [Check.LARGEST_LAYER]),
        (_image(GIB, GIB, 0), []),
        (_image(GIB, *[MIB] * 5), [Check.UNEVEN]),
        (_image(*[MIB] * 40), []),
        (_image(*[MIB] * 41), [Check.MANY_LAYERS]),
        (_image(*[MIB] * 40, 32), []),
    ],
)
def test_what_sizes_tell(image: Image, checks: list[Check]) -> None:
    assert _checks(image) == checks


@pytest.mark.parametrize(
    ("step", "size_bytes", "is_found"),
    [
        ("RUN /bin/sh -c rm -rf /opt/cache # buildkit", 200, True),
        ("RUN |1 A=b /bin/sh -c cd / && rm -r opt # buildkit", 200, True),
        ("/bin/sh -c rm -rf /opt/cache", 200, True),
        ("RUN /bin/sh -c apt-get install x && rm -rf /var/lib/apt/lists/*", 9 * MIB, False),
        ("RUN /bin/sh -c chmod +x confirm # buildkit", 200, False),
        ("COPY rm / # buildkit", 200, False),
        ("/bin/sh -c #(nop) COPY file:1 in rm ", 200, False),
    ],
)
def test_a_step_that_only_removes(step: str, size_bytes: int, is_found: bool) -> None:
    layers = (Layer("sha256:0", 9 * MIB), Layer("sha256:1", size_bytes, step))
    assert (Check.REMOVES in _checks(Image(layers))) == is_found
    assert Check.REMOVES not in _checks(Image(layers[1:]))


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("/bin/sh -c #(nop) ADD file:abc in / ", Kind.SYSTEM),
        ("# debian.sh --arch 'amd64' out/ 'trixie'", Kind.SYSTEM),
        ("RUN /bin/sh -c apk add --no-cache gcc # buildkit", Kind.PACKAGES),
        ("RUN /bin/sh -c pip3 install -r requirements.txt # buildkit", Kind.LIBRARIES),
        ("RUN /bin/sh -c npm ci # buildkit", Kind.LIBRARIES),
        ("COPY . /app # buildkit", Kind.FILES),
        ("RUN /bin/sh -c make # buildkit", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_what_a_step_tells_of_its_layer(step: str, kind: Kind) -> None:
    assert Layer("sha256:0", MIB, step).kind is kind


@pytest.mark.parametrize(
    ("tag", "digest", "moves"),
    [
        ("latest", "", True),
        ("stable", "", True),
        ("3.11", "", True),
        ("3", "", True),
        ("3.11.4", "", False),
        ("v1.2.3-slim", "", False),
        ("main-1a2b3c4d", "", False),
        ("20260102", "", False),
        ("latest", "sha256:0", False),
    ],
)
def test_which_tags_move(tag: str, digest: str, moves: bool) -> None:
    assert is_moving(tag, digest) is moves


def test_a_moving_tag_and_docker_hub_without_a_login() -> None:
    image = Image((), is_moving=True, is_anonymous_hub=True)
    assert _checks(image) == [Check.MOVING_TAG, Check.DOCKER_HUB]


def test_what_changes_below_what_does_not() -> None:
    """A source tree copied before its dependencies are installed takes these along each time."""
    base = Layer("sha256:base", 100, "# debian.sh")
    earlier = Image(
        (
            base,
            Layer("sha256:a1", 10, "COPY . /app # buildkit"),
            Layer("sha256:p1", 5_000, "RUN /bin/sh -c pip install -r /app/r.txt # buildkit"),
            Layer("sha256:c", 7, "RUN /bin/sh -c useradd app # buildkit"),
        )
    )
    image = Image(
        (
            base,
            Layer("sha256:a2", 12, "COPY . /app # buildkit"),
            Layer("sha256:p2", 5_001, "RUN /bin/sh -c pip install -r /app/r.txt # buildkit"),
            Layer("sha256:c", 7, "RUN /bin/sh -c useradd app # buildkit"),
        )
    )
    difference = compare(image, earlier)
    assert difference == Difference(common=1, anew_bytes=5_013, dragged_bytes=5_001)
    found = findings(image, difference)[-1]
    assert (found.check, found.layer, found.value) == (Check.CHANGES_BELOW, 1, 5_001)


def test_what_changes_on_top_is_well_ordered() -> None:
    earlier, image = _image(5_000, 10), Image((*_image(5_000).layers, Layer("sha256:x", 11)))
    difference = compare(image, earlier)
    assert difference == Difference(common=1, anew_bytes=11, dragged_bytes=0)
    assert _checks(image, difference) == []
    assert compare(earlier, earlier) == Difference(common=2, anew_bytes=0, dragged_bytes=0)
    assert compare(image, Image(())) == Difference(common=0, anew_bytes=5_011, dragged_bytes=0)


def test_steps_belong_to_layers_where_the_numbers_agree() -> None:
    history = [
        {"created_by": "a"},
        {"created_by": "ENV x", "empty_layer": True},
        {"created_by": "b"},
    ]
    assert list(steps_of(history, 2)) == ["a", "b"]
    for odd in (history[:1], None, "text", [1, 2]):
        assert list(steps_of(odd, 2)) == ["", ""]


def test_an_engine_tells_the_newest_step_first() -> None:
    history = [
        {"Size": 20, "CreatedBy": "b"},
        {"Size": 0, "CreatedBy": "ENV x"},
        {"Size": 10, "CreatedBy": "a"},
    ]
    assert layers_of(history, ["x", "y"]) == (Layer("x", 10, "a"), Layer("y", 20, "b"))
    assert layers_of(history, ["x"])[0] == Layer("10 a", 10, "a")


def test_every_check_has_words() -> None:
    assert set(WORDS) == set(Check)
    assert [size(n) for n in (0, 1023, 1024, MIB, 26.8 * GIB)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.0 MiB",
        "26.8 GiB",
    ]


def test_what_pulls_took_and_would_take() -> None:
    starts = [
        image_service_pb2.ImageStarts(
            instance_type="m5.large",
            starts=10,
            pulls=4,
            pull_seconds=20,
            slowest_seconds=9,
            pulled_bytes=200,
        ),
        image_service_pb2.ImageStarts(instance_type="c5.large", starts=3),
        image_service_pb2.ImageStarts(instance_type="c5.large"),
    ]
    assert measured(starts) == [
        Measured("m5.large", 10, 0.6, 5.0, 9.0),
        Measured("c5.large", 3, 1.0, None, 0.0),
    ]
    assert expected_seconds(starts, 1_000) == {"m5.large": 100.0}
