"""How the answer to an apply looks: what was done; for a dry run also where it would go, and what is different.

Used by `apply` and `simulate`. Pure.
"""

from __future__ import annotations

from arbora.cli.explain_view import difference_lines, explanation_lines, replicas
from arbora.cli.plain import enum_word
from arbora.v1 import workload_pb2 as pb


def answer_lines(name: str, answer: pb.ApplyWorkloadResponse, dry_run: bool, wide: bool = False) -> list[str]:
    """The answer about the workload `name`. dry_run: with the explanation and the differences."""
    outcome = enum_word(pb.ApplyOutcome.DESCRIPTOR, answer.outcome).lower()
    waiting = f", {replicas(answer.workload.pending)} pending" if answer.workload.pending else ""
    if not dry_run:
        return [f"workload/{name} {outcome}{waiting}"]
    return [f"workload/{name} {outcome}{waiting} (dry run)", *detail_lines(answer, wide)]


def detail_lines(answer: pb.ApplyWorkloadResponse, wide: bool) -> list[str]:
    """Where it would go and why, and what is different in some members."""
    return [
        *explanation_lines(answer.explanation, wide),
        *difference_lines(answer.differences),
    ]


def unexplained(answer: pb.ApplyWorkloadResponse) -> list[str]:
    """Warnings that its explanation doesn't say as well."""
    said = {f"{each.path.removeprefix('/')} {each.sentence}" for each in answer.explanation.rejected}
    said.update(answer.explanation.reasons)
    return [warning for warning in answer.warnings if warning not in said]
