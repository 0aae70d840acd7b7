"""What the policy table may say: who needs no role, what is audited, which foreign services are served.

That it is complete is shown in `test_house.py`; that a hub keeps to it, in `tests/integration/test_access.py`.
"""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from arbora.rpc.policy import POLICY, Who

CLIENTLESS = {
    "/arbora.v1.EnrollmentService/Enroll",
    "/arbora.v1.EnrollmentService/Explain",
    "/arbora.v1.SessionService/Connect",
    "/arbora.v1.RenewalService/Renew",
    "/arbora.v1.TunnelService/Tunnel",
}
"""What is called without a role; nothing else may be."""


def methods(*files: FileDescriptor) -> set[str]:
    """As they travel: /package.Service/Method."""
    return {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


def test_the_other_rows_are_of_grpcs_own_services() -> None:
    others = {name for name in POLICY if not name.startswith("/arbora.")}
    served = methods(health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
    newer = {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"}
    assert others == served | newer


def test_only_children_and_strangers_at_the_join_port_need_no_role() -> None:
    open_to_all = {name for name, rule in POLICY.items() if isinstance(rule.who, Who)}
    assert open_to_all == {*CLIENTLESS, *methods(health_pb2.DESCRIPTOR)}
    assert {name for name in open_to_all if POLICY[name].mutates} == {
        "/arbora.v1.EnrollmentService/Enroll",
        "/arbora.v1.RenewalService/Renew",
    }


def test_a_method_whose_name_says_that_it_changes_something_is_audited() -> None:
    reading = (
        "List",
        "Get",
        "Watch",
        "Check",
        "WhoAmI",
        "Explain",
        "Summarize",
        "Connect",
        "Tunnel",
        "ServerReflectionInfo",
    )
    wrong = [name for name, rule in POLICY.items() if rule.mutates is name.rpartition("/")[2].startswith(reading)]
    assert wrong == []
