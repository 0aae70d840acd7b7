"""A Fleet is read strictly: what is wrong is told with its path and line."""

from __future__ import annotations

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.manifests.documents import read
from arbora.manifests.fleet_document import FleetDocument, FleetGpus, FleetMember, FleetTaint
from arbora.manifests.strict_yaml import InvalidDocument

FLEET = """\
apiVersion: arbora.dev/v1
kind: Fleet
members:
  - name: edge-7
    labels: {site: paris}
    taints: ["team=vision:NoSchedule", "gpu:NoExecute"]
    gpus:
      - {product: H100, nodes: [8, 8, 4], used: 10, price: 2.5}
      - {vendor: amd, product: MI300X, nodes: [8, 8], used: [0, 3]}
    properties: {region: eu, watts: 700, green: true}
    state: suspect
    cordoned: true
    kinds: [batch/v1/Job]
    claims: {residency-eu: attested}
  - name: edge-8
"""


def fleet(text: str) -> FleetDocument:
    (found,) = read(text, "fleet.yaml").fleets
    return found


def test_a_member_is_read_whole() -> None:
    assert fleet(FLEET).members[0] == FleetMember(
        name="edge-7",
        labels={"site": "paris"},
        taints=(FleetTaint("team", "vision", "NoSchedule"), FleetTaint("gpu", "", "NoExecute")),
        gpus=(
            FleetGpus(GpuClass("nvidia", "H100"), (8, 8, 4), (8, 2, 0), 2.5),
            FleetGpus(GpuClass("amd", "MI300X"), (8, 8), (0, 3)),
        ),
        properties={"region": "eu", "watts": 700, "green": True},
        state="suspect",
        cordoned=True,
        kinds=("batch/v1/Job",),
        claims={"residency-eu": "attested"},
    )


def test_what_is_left_out_is_not_known_and_the_member_online() -> None:
    assert fleet(FLEET).members[1] == FleetMember("edge-8")
    assert fleet(FLEET).members[1].kinds is None
    assert fleet(FLEET).members[1].state == "online"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("members:", "member:", "3: member: unknown field; did you mean members?"),
        ("labels:", "lables:", "5: members[0].lables: unknown field; did you mean labels?"),
        ("nodes: [8, 8, 4]", "node: [8]", "8: members[0].gpus[0].node: unknown field; did you mean nodes?"),
        ("product: H100, ", "", "8: members[0].gpus[0]: product is missing"),
        ("[8, 8, 4]", "[8, -1]", "8: members[0].gpus[0].nodes[1]: -1 is below 0"),
        ("[8, 8, 4]", "8", "8: members[0].gpus[0].nodes: is a number, not a list"),
        ("used: 10", "used: 21", "8: members[0].gpus[0].used: 21 of 20 GPUs can't be used"),
        ("used: 10", "used: some", "8: members[0].gpus[0].used: is a text, not a whole number"),
        ("[0, 3]", "[0]", "9: members[0].gpus[1].used: has 1 entries for 2 nodes"),
        ("[0, 3]", "[0, 9]", "9: members[0].gpus[1].used[1]: 9 of 8 GPUs can't be used"),
        ("price: 2.5", "price: -1", "8: members[0].gpus[0].price: -1 is below 0"),
        ("gpu:NoExecute", "gpu:Never", "6: members[0].taints[1]: 'gpu:Never' is not a taint"),
        ("state: suspect", "state: asleep", "11: members[0].state: 'asleep' is not one of online, suspect, lost"),
        ("cordoned: true", "cordoned: 1", "12: members[0].cordoned: is a number, not true or false"),
        ("watts: 700", "watts: [7]", "10: members[0].properties.watts: is a list, not a text"),
        (": attested", ": sworn", "14: members[0].claims.residency-eu: 'sworn' is not one of attested"),
        ("name: edge-7", "name: Edge_7", "4: members[0].name: 'Edge_7' is not a valid name"),
        ("name: edge-8", "name: edge-7", "15: members[1].name: edge-7 is there twice"),
        ("  - name: edge-8", "  - labels: {}", "15: members[1]: name is missing"),
    ],
)
def test_a_mistake_is_told_with_its_path_and_line(old: str, new: str, error: str) -> None:
    assert old in FLEET
    with pytest.raises(InvalidDocument) as caught:
        read(FLEET.replace(old, new, 1), "fleet.yaml")
    assert str(caught.value).startswith(f"fleet.yaml:{error}")


def test_a_fleet_of_nobody_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="members: holds no member"):
        read(FLEET[: FLEET.index("members")] + "members: []\n", "f")
