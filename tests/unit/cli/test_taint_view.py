"""How long a member has had a taint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from arbora.cli.member_view import describe
from arbora.cli.plain import to_plain
from arbora.v1 import member_pb2 as pb

NO_EXECUTE = pb.TAINT_EFFECT_NO_EXECUTE


def test_a_description_says_how_long_ago_a_taint_was_added_where_the_hub_tells() -> None:
    told, untold = pb.Taint(key="power", value="off", effect=NO_EXECUTE), pb.Taint(key="old", effect=NO_EXECUTE)
    told.added.FromDatetime(datetime.now(UTC) - timedelta(hours=2, seconds=30))
    facts = dict(describe(pb.Member(path="/a", taints=[told, untold]))[0].facts)
    assert facts["Taints"] == "power=off:NoExecute (added 2h ago), old:NoExecute"


def test_plain_data_has_the_moment() -> None:
    taint = pb.Taint(key="power", effect=NO_EXECUTE)
    taint.added.FromSeconds(1_800_000_000)
    assert to_plain(pb.Member(taints=[taint]))["taints"][0]["added"] == "2027-01-15T08:00:00Z"
