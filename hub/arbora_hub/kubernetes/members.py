"""The member directory: what is known of every member cluster below this hub, at any depth, kept current.

    this hub's children, and the lines that child hubs send -> `Below` -> one `MemberView` each -> whoever listens
    facts of those further down                             -> `asking.py`

The rules of who is seen how are those of `tree/subtree.py` and `tree/fencing.py`. A hub that exports sums only
sends no lines, so nothing is known of the members below it. That a member is missing may mean that a hub on the
way has just restarted: `unsure` tells that from one that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from arbora.clock import Clock, wait_for
from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.v1 import enrollment_pb2, member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.facts import facts_of
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.asking import Asking, Forwarding
from arbora_hub.kubernetes.view import MemberView, view_of
from arbora_hub.tree.below import Below
from arbora_hub.tree.pace import Pace
from arbora_hub.tree.subtree import HUB, branch_of, liveness_of, own_line

COALESCE_SECONDS = 0.1
CLAIM_SECONDS = 5.0
"""How often it is looked at who stands in two places, as its cost is that of all lines."""


class Members:
    """All member clusters, by path from the root of the tree."""

    def __init__(
        self, inventory: Inventory, calls: Forwarding, *, clock: Clock, wall: Callable[[], float], grace: float
    ) -> None:
        """wall: seconds since the epoch. grace: seconds that a hub has to say again who is below it."""
        self._inventory = inventory
        self._clock = clock
        self._wall = wall
        self._grace = grace
        self._started = clock.monotonic()
        self._below = Below()
        self._views: dict[str, MemberView] = {}
        """By path relative to this hub; so for the next two."""
        self._hubs: dict[str, member_pb2.MemberLine] = {}
        self._online_since: dict[str, float] = {}
        """Of hubs that are online."""
        self._missing: dict[str, float] = {}
        """Members that went away below a hub, and when, the oldest first."""
        self._own_path = inventory.own_path
        self._inherited = dict(inventory.inherited)
        self._asking = Asking(calls, self._views.get, self._learned, clock)
        self._unread = {child.name for child in inventory}
        self._changed: set[str] = set()
        self._claims = Pace(CLAIM_SECONDS)
        self._wake = asyncio.Event()
        self._callbacks: list[Callable[[str], None]] = []
        inventory.on_change(self._child_changed)
        inventory.on_report(self._reported)
        self.refresh()

    def get(self, path: str) -> MemberView | None:
        """The member at a path from the root; None: there is none, or none is known (see `unsure`)."""
        relative = self._relative(path)
        return self._views.get(relative) if relative else None

    def __iter__(self) -> Iterator[MemberView]:
        return iter(tuple(self._views.values()))

    def __len__(self) -> int:
        return len(self._views)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Hear the path of each member that appeared, changed or went away. Must not block."""
        self._callbacks.append(callback)

    def unsure(self, path: str) -> Liveness | None:
        """Of a path that `get` does not know: how present the member can be at most; None: it is gone.

        It is so if everything on the way has been there long enough to have told of it.
        """
        relative = self._relative(path)
        name = relative.partition("/")[0]
        child = self._inventory.find(name) if name else None
        if child is None or name == relative or child.row.kind != HUB or child.moved:
            return None
        now = self._clock.monotonic()
        labels = relative.split("/")
        for count in range(1, len(labels)):
            hub = "/".join(labels[:count])
            line = self._hubs.get(hub)
            if line is None:
                break
            since = self._online_since.get(hub)
            if since is None:
                return max(Liveness.SUSPECT, liveness_of(line.liveness))
            if now - since < self._grace:
                return Liveness.SUSPECT
        missing_for = now - self._missing.get(relative, self._started)
        return Liveness.SUSPECT if missing_for < self._grace else None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._asking.run())
            while True:
                await wait_for(self._wake, self._clock, self._claims.next_due())
                await self._clock.wait_until(self._clock.monotonic() + COALESCE_SECONDS)
                self.refresh()

    def refresh(self) -> None:
        """Take over what changed, and tell of it."""
        self._wake.clear()
        now = self._clock.monotonic()
        changed, self._changed = self._changed, set()
        changed |= self._read_children(now)
        if self._claims.take(now):
            for path in self._below.refence_lines():
                changed.update(self._below.paths(path), self._known_below(path))
        moved = self._moved()
        if moved:
            changed.update(self._below.paths(), self._views)
        self._read_hubs(changed, now)
        told = {path for path in changed if self._read_member(path, now)}
        for path in [path for path, since in self._missing.items() if now - since >= self._grace]:
            del self._missing[path]
        for path in sorted(moved | {self._path(relative) for relative in told}):
            for callback in self._callbacks:
                callback(path)

    # what happens

    def _child_changed(self, child: Child) -> None:
        self._unread.add(child.name)
        self._wake.set()

    def _reported(self, child: Child, key: str) -> None:
        if key.startswith("member/"):
            self._changed.add(f"{child.name}/{key.partition('/')[2]}")
            self._claims.mark("", self._clock.monotonic())
        else:
            self._unread.add(child.name)
        self._wake.set()

    def _learned(self, relative: str) -> None:
        self._changed.add(relative)
        self._wake.set()

    # reading

    def _read_children(self, now: float) -> set[str]:
        """Take over children that changed; returns the paths that are to be read anew."""
        changed: set[str] = set()
        refence = False
        for name in self._unread:
            before = self._below.branches.get(name)
            child = self._inventory.find(name)
            branch = branch_of(child, now, self._wall()) if child is not None else None
            refence |= self._below.replace(name, branch)
            changed.add(name)
            if HUB not in {one.kind for one in (before, branch) if one is not None}:
                continue
            if child is not None and child.connected_at is not None:
                # a session that was cut and came back at once is a new beginning, too
                self._online_since[name] = max(self._online_since.get(name, 0.0), child.connected_at)
            if before is None or branch is None or before.liveness is not branch.liveness:
                changed.update(self._below.paths(name), self._known_below(name))
        self._unread.clear()
        if refence:
            fenced = self._below.fence.children
            self._below.refence()
            changed |= fenced ^ self._below.fence.children
        return changed

    def _read_hubs(self, changed: set[str], now: float) -> None:
        """Read hubs anew, from above; adds what is below those that give it something else than before."""
        for path in sorted(changed, key=lambda one: one.count("/")):
            line = self._line(path)
            before = self._hubs.get(path)
            if line is None or line.kind != enrollment_pb2.CHILD_KIND_HUB:
                line = None
                self._hubs.pop(path, None)
            else:
                self._hubs[path] = line
            if line is not None and line.liveness == member_pb2.LIVENESS_ONLINE:
                self._online_since.setdefault(path, now)
            else:
                self._online_since.pop(path, None)
            if _marks(line) != _marks(before):
                changed.update(self._below.paths(path), self._known_below(path))

    def _read_member(self, path: str, now: float) -> bool:
        """Read one member anew; returns whether it changed."""
        before, view = self._views.get(path), self._view(path)
        if view == before:
            return False
        if view is None:
            del self._views[path]
            if "/" in path:
                self._missing.pop(path, None)
                self._missing[path] = now
        else:
            self._views[path] = view
            self._missing.pop(path, None)
        if "/" in path:  # what this hub's own children say is known here
            self._asking.look(path)
        return True

    def _view(self, path: str) -> MemberView | None:
        line = self._line(path)
        if line is None or line.kind != enrollment_pb2.CHILD_KIND_AGENT:
            return None
        labels = path.split("/")
        above = [self._hubs.get("/".join(labels[:count])) for count in range(1, len(labels))]
        hubs = [one for one in above if one is not None]
        if len(hubs) < len(above):
            return None  # what the hub between gives it, labels above all, is not known yet
        facts = self._asking.of(path)
        if not above:
            status = self._below.branches[path].status
            facts = facts_of(status) if status is not None else None
        return view_of(line, self._path(path), self._inherited, hubs, facts)

    def _line(self, path: str) -> member_pb2.MemberLine | None:
        branch = self._below.branches.get(path)
        if branch is None:
            return self._below.line(path)
        if branch.kind == HUB:
            return own_line(branch, ())
        return None if path in self._below.fence.children else self._below.line(path)

    def _known_below(self, path: str) -> list[str]:
        inside = f"{path}/"
        return [one for one in (*self._views, *self._hubs) if one == path or one.startswith(inside)]

    # where this hub stands

    def _moved(self) -> set[str]:
        """The paths that members had before, if this hub has another one, or other labels from above."""
        own_path, inherited = self._inventory.own_path, dict(self._inventory.inherited)
        if own_path == self._own_path and inherited == self._inherited:
            return set()
        before = {view.path for view in self._views.values()}
        self._own_path, self._inherited = own_path, inherited
        return before

    def stand_elsewhere(self) -> None:
        """This hub's own path or its labels from above changed."""
        self._wake.set()

    def _path(self, relative: str) -> str:
        return f"{str(self._own_path).rstrip('/')}/{relative}"

    def _relative(self, path: str) -> str:
        """Empty: not below this hub, or no path."""
        try:
            rest = Path.parse(path).relative_to(self._own_path)
        except InvalidInput:
            return ""
        return "/".join(rest.labels) if rest is not None else ""


def _marks(hub: member_pb2.MemberLine | None) -> object:
    """What members below a hub have of it."""
    if hub is None:
        return None
    taints = sorted((one.key, one.value, one.effect) for one in hub.taints)
    return dict(hub.labels), taints, hub.cordoned
