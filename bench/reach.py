"""The topic `reach`: ways into members, as the table "Reach" in docs/benchmarks.md shows them.

kubectl     what a hub adds to a request of kubectl, against a real kube-apiserver
stream      how fast bytes go through, and what a gigabyte leaves in memory
plugin      how long the credential plugin takes
request     from an AuthTokenRequest to its Secret, against two real kube-apiservers
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import reach_kubectl, reach_plugin, reach_request, reach_stream
from bench.report import Report

_PARTS = {
    "kubectl": reach_kubectl.run,
    "stream": reach_stream.run,
    "plugin": reach_plugin.run,
    "request": reach_request.run,
}


class Reach:
    """See bench.report.Topic."""

    name = "reach"
    parts = tuple(_PARTS)

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """See bench.report.Topic."""
        for part in parts:
            await _PARTS[part](report)


TOPIC = Reach()
