"""What every store does with events and the audit log; part of `StoreContract`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.errors import InvalidInput
from arbora_hub.store.port import AUDIT_FLOOR, ReadTx, Store, WriteTx
from arbora_hub.store.rows import AuditRow, EventRow


def event(number: int, subject: str = "member/a") -> EventRow:
    return EventRow(f"{number:014x}-0000", number / 1e6, 1, "MemberJoined", subject, f"number {number}")


def entry(number: int, subject: str = "member/a") -> AuditRow:
    return AuditRow(
        f"{number:014x}-0000", number / 1e6, "access/ada", "LabelMember", subject, "OK", "ipv4:127.0.0.1:9", ""
    )


class TimelineContract:
    """Events and the audit log."""

    async def test_events_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.events.add_many(event(number) for number in (3, 1, 5, 2))
            await tx.events.add(event(4))

        await store.write(write)

        async def read(tx: ReadTx) -> list[list[int]]:
            pages, token = [], ""
            while True:
                page = await tx.events.list(page_size=2, page_token=token)
                pages.append([round(row.time * 1e6) for row in page.rows])
                token = page.next_token
                if not token:
                    return pages

        assert await store.read(read) == [[5, 4], [3, 2], [1]]

    async def test_the_last_full_page_has_no_next(self, store: Store) -> None:
        async def write(tx: WriteTx) -> str:
            await tx.events.add_many([event(1), event(2)])
            return (await tx.events.list(page_size=2)).next_token

        assert await store.write(write) == ""

    async def test_a_page_holds_100_rows_unless_told_and_never_more_than_1000(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[int]:
            await tx.events.add_many(event(number) for number in range(1, 1103))
            return [len((await tx.events.list(page_size=size)).rows) for size in (0, 5000)]

        assert await store.write(write) == [100, 1000]

    @pytest.mark.parametrize(
        ("subject", "found"),
        [
            ("", 7),
            ("member", 5),
            ("member/", 5),
            ("member/a", 2),
            ("member/a/", 2),
            ("member/a/b", 1),
            ("member/ab", 1),
            ("member/%", 0),
            ("member/A", 0),
            ("member/a_", 1),
            ("workload", 1),
            ("nothing", 0),
        ],
    )
    async def test_a_subject_takes_what_is_about_it_or_below_it(
        self, store: Store, subject: str, found: int
    ) -> None:
        subjects = ["member/a", "member/a/b", "member/ab", "member/a0", "member/a_", "members", "workload/x"]

        async def write(tx: WriteTx) -> tuple[int, int]:
            await tx.events.add_many(event(number, each) for number, each in enumerate(subjects))
            for number, each in enumerate(subjects):
                await tx.audit.add(entry(number, each))
            return (
                len((await tx.events.list(subject=subject)).rows),
                len((await tx.audit.list(subject=subject)).rows),
            )

        assert await store.write(write) == (found, found)

    async def test_a_wrong_page_token_is_refused(self, store: Store) -> None:
        async def read(tx: ReadTx) -> None:
            await tx.audit.list(page_token="' OR 1=1 --")

        with pytest.raises(InvalidInput) as caught:
            await store.read(read)
        assert caught.value.field == "page_token"

    async def test_adding_an_event_again_does_no_harm(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[EventRow, ...]:
            await tx.events.add(event(1))
            await tx.events.add_many([replace(event(1), message="changed"), event(2)])
            return (await tx.events.list()).rows

        assert await store.write(write) == (event(2), event(1))

    async def test_trimming_keeps_the_newest_events(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[object]:
            await tx.events.add_many(event(number) for number in range(10))
            removed = [await tx.events.trim(keep) for keep in (10, 3, 5)]
            return [removed, (await tx.events.list()).rows, await tx.events.trim(0)]

        assert await store.write(write) == [[0, 7, 0], (event(9), event(8), event(7)), 3]

    async def test_the_newest_audit_entries_are_never_trimmed(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[int, tuple[AuditRow, ...]]:
            for number in range(5):
                await tx.audit.add(entry(number))
            return await tx.audit.trim(1), (await tx.audit.list()).rows

        assert AUDIT_FLOOR == 100_000
        assert await store.write(write) == (0, tuple(entry(number) for number in (4, 3, 2, 1, 0)))
