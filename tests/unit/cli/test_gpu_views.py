"""GPUs as they are drawn: bars, sparklines with their gaps, the picture of `gpus top`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.cli import charts
from arbora.cli import gpu_words as words
from arbora.cli.charts import ASCII, BLOCKS, bar, resampled, sparkline
from arbora.cli.gpu_detail_view import PIPE_WIDTH, Paper, history
from arbora.cli.gpu_top_view import Found, Frame, headline, top_lines
from arbora.cli.screen import Screen, aligned, plain, width
from arbora.gpus.health import Health
from arbora.v1 import gpu_pb2 as pb
from tests.support.fake_gpus import make_gpu

PIPE = Paper()
known = st.none() | st.floats(0, 100)


# characters


@given(st.floats(-1, 2), st.integers(1, 40), st.booleans())
def test_a_bar_is_as_wide_as_it_was_asked_for(part: float, columns: int, draw: bool) -> None:
    drawn = bar(part, columns, draw)
    assert len(drawn) == columns
    assert set(drawn) <= set("█░" if draw else "#.")


def test_a_bar_of_what_is_not_known_is_blank_and_no_zero() -> None:
    assert (bar(None, 4, True), bar(0.0, 4, True), bar(0.5, 4, False)) == ("    ", "░░░░", "##..")


def test_a_sparkline_rises_from_its_lowest_mark_to_its_highest() -> None:
    values = [0, 12.5, 25, 37.5, 50, 62.5, 75, 100]
    assert sparkline(values, 0, 100, True) == "".join(BLOCKS)
    assert sparkline(values, 0, 100, False) == "".join(ASCII)


@given(st.lists(known, max_size=200), st.booleans())
def test_a_gap_of_a_sparkline_is_where_nothing_is_known_and_nowhere_else(
    values: list[float | None], draw: bool
) -> None:
    drawn = sparkline(values, 0, 100, draw)
    assert [mark == " " for mark in drawn] == [value is None for value in values]


@given(st.lists(known, max_size=300), st.integers(1, 80))
def test_values_that_are_too_many_are_taken_together_and_a_gap_stays_one(
    values: list[float | None], columns: int
) -> None:
    found = resampled(values, columns)
    assert len(found) == min(len(values), columns)
    assert (found == values) or len(values) > columns
    for index, each in enumerate(found if len(values) > columns else []):
        part = values[index * len(values) // columns : (index + 1) * len(values) // columns]
        assert (each is None) == all(value is None for value in part)


def test_a_temperature_is_the_highest_of_those_that_are_taken_together() -> None:
    assert resampled([1, 9, None, 3], 2, max) == [9, 3]
    assert resampled([1, 9, None, 3], 2, charts.mean) == [5, 3]


# history


def minute(ago: int, **fields: object) -> pb.GpuMinute:
    """One that ended so many whole minutes ago, and a moment."""
    made = pb.GpuMinute(**{"health": pb.GPU_HEALTH_HEALTHY, **fields})  # type: ignore[arg-type]
    made.ago.FromTimedelta(timedelta(seconds=60 * ago + 20))
    return made


def drawn(minutes: Iterable[pb.GpuMinute], seconds: float = 600.0, paper: Paper = PIPE) -> dict[str, str]:
    return {name: text for name, text in history(list(minutes), seconds, 80 * 1024.0, paper) if text}


def test_a_minute_stands_where_it_was_and_one_without_a_word_is_a_gap() -> None:
    facts = drawn([minute(9, utilization=100), minute(2, utilization=0), minute(0, utilization=100)])
    assert facts["Utilization"] == "█      ▁ █  0 to 100 %, mean 67 %"
    assert facts["Read"] == "3 of 10 minutes"
    assert "Power" not in facts, "what the device doesn't offer is left out"


def test_a_minute_that_tells_nothing_but_that_the_gpu_is_not_well_was_not_read() -> None:
    facts = drawn([minute(1, utilization=5), minute(0, health=Health.UNHEALTHY)])
    assert facts["Read"] == "1 of 10 minutes"
    assert facts["Not healthy"] == "1 minute: 1 Unhealthy"


def test_where_blocks_can_not_be_shown_history_is_ascii() -> None:
    facts = drawn(
        [minute(1, utilization=0, power=300), minute(0, utilization=100, power=600)], paper=Paper(draw=False)
    )
    assert facts["Utilization"] == "        .@  0 to 100 %, mean 50 %"
    assert "".join(facts.values()).isascii()


def test_minutes_that_were_throttled_or_not_healthy_are_counted() -> None:
    bad = [
        minute(3, health=Health.UNHEALTHY),
        minute(2, health=Health.DEGRADED),
        minute(1, health=Health.DEGRADED),
    ]
    facts = drawn([*bad, minute(0, throttled=True), minute(4, health=0)])
    assert facts["Throttled"] == "1 minute"
    assert facts["Not healthy"] == "3 minutes: 2 Degraded, 1 Unhealthy"


@given(st.integers(1, 24), st.integers(20, 300))
def test_a_sparkline_fits_the_terminal_or_sixty_columns_of_a_pipe(hours: int, columns: int) -> None:
    minutes = [
        minute(ago, utilization=ago % 101, memory_used_mib=ago * 50, power=700, temperature=20 + ago % 70)
        for ago in range(hours * 60)
    ]
    on_terminal = drawn(minutes, hours * 3600.0, Paper(columns))
    assert max(len(f"  Utilization:  {text}") for text in on_terminal.values()) <= max(columns, 61)
    in_pipe = drawn(minutes, hours * 3600.0)["Utilization"].partition("  ")[0]
    assert len(in_pipe) == PIPE_WIDTH


# words


def test_what_holds_a_device_back_is_named() -> None:
    assert words.throttle(0) == words.throttle(0x1) == ""
    assert words.throttle(0x88) == "hardware slowdown; power brake"
    assert words.throttle(0x4000) == "0x4000"


@pytest.mark.parametrize(
    ("used", "total", "text"),
    [
        (None, None, "-"),
        (512, None, "0.5GiB"),
        (None, 81920, "-/80GiB"),
        (0, 81920, "0/80GiB"),
        (9830, 81920, "9.6/80GiB"),
    ],
)
def test_memory_is_told_as_far_as_it_is_known(used: int | None, total: int | None, text: str) -> None:
    assert words.memory(used, total) == text


def test_power_is_told_in_kilowatts_once_it_is_that_much() -> None:
    assert [words.power(each) for each in (None, 0, 699.6, 1250)] == ["-", "0W", "700W", "1.2kW"]


# top

BUSY = make_gpu(
    "/a", "n1", 0, values={"utilization": 99, "memory_used_mib": 81920, "power": 700, "temperature": 71}
)
CALM = make_gpu(
    "/a", "n1", 1, values={"utilization": 3, "memory_used_mib": 0, "power": 100}, health=Health.DEGRADED
)
QUIET = make_gpu("/a", "n1", 2)
AWAY = make_gpu("/a", "n2", 0, values={"utilization": 100, "power": 9999}, stale=True)


def picture(found: Found, by: str = "gpu", frame: Frame = Frame(), trouble: str = "") -> list[str]:  # noqa: B008
    return [plain(spans) for spans in top_lines(found, by, frame, trouble)]


def test_the_busiest_comes_first_and_what_is_not_heard_of_last() -> None:
    lines = picture(Found(gpus=(AWAY, QUIET, CALM, BUSY)))
    assert [line.split()[:3] for line in lines[1:]] == [
        ["MEMBER", "NODE", "GPU"],
        ["/a", "n1", "0"],
        ["/a", "n1", "1"],
        ["/a", "n1", "2"],
        ["/a", "n2", "0"],
    ]
    assert lines[2].split()[3:] == ["█" * 10, "99%", "█" * 10, "80/80GiB", "71C", "700W", "Healthy", "-"]
    assert lines[3].split()[3:7] == ["░" * 10, "3%", "░" * 10, "0/80GiB"]
    assert lines[4].split()[3:] == ["-", "-", "-", "-", "Healthy", "-"]


def test_the_headline_leaves_what_is_not_heard_of_out_of_mean_and_power() -> None:
    found = Found(gpus=(AWAY, QUIET, CALM, BUSY))
    assert plain(headline(found)) == "4 GPUs  51% mean  0.8kW  3 healthy, 1 degraded, 1 silent"


def test_the_headline_says_nothing_of_what_nobody_measures() -> None:
    assert plain(headline(Found(gpus=(QUIET,)))) == "1 GPU  1 healthy"


def test_the_headline_of_sums_is_that_of_all_rows_together() -> None:
    one = pb.GpuRollup(devices=8, healthy=7, unhealthy=1, utilization_known=8, utilization_sum=80_000)
    other = pb.GpuRollup(devices=2, healthy=2, utilization_known=2, power_milliwatts=1_500_000)
    rows = (pb.GpuSummary(name="A", total=8, rollup=one), pb.GpuSummary(name="B", total=2, rollup=other))
    assert plain(headline(Found(rows=rows))) == "10 GPUs  80% mean  1.5kW  9 healthy, 1 unhealthy"
    unread = Found(rows=(pb.GpuSummary(name="A", total=8),))
    assert plain(headline(unread)) == "8 GPUs, none of which is read"
    assert plain(headline(Found())) == "no GPUs"


def test_health_has_its_colour_and_what_is_not_heard_of_is_dim() -> None:
    everyone = [make_gpu("/a", index=each.value, health=each, values={"utilization": 50}) for each in Health]
    lines = top_lines(Found(gpus=(*everyone, AWAY)), "gpu", Frame())
    styles = {plain([span]).strip(): span[1] for line in lines[2:] for span in line}
    assert {name: styles[name] for name in ("Healthy", "Degraded", "Recovering", "Draining", "Unhealthy")} == {
        **{"Healthy": "green", "Degraded": "yellow", "Recovering": "yellow"},
        **{"Draining": "magenta", "Unhealthy": "red"},
    }
    assert {style for text, style in lines[-1] if text.strip()} == {"dim"}


def test_where_the_hub_does_not_answer_that_is_said_and_what_it_said_last_is_dim() -> None:
    lines = top_lines(Found(gpus=(BUSY,)), "gpu", Frame(), "as it was at 14:02:11: the hub is away")
    assert plain(lines[0]).startswith("as it was at 14:02:11: the hub is away  1 GPU  ")
    assert {style for line in lines[1:] for text, style in line if text.strip()} == {"dim"}


def test_by_node_there_is_no_count_of_free_ones() -> None:
    rows = (pb.GpuSummary(name="n1", total=4, free=0),)
    assert picture(Found(rows=rows), "node")[1].split() == [
        "NODE",
        "GPUS",
        "UTIL",
        "MEMORY",
        "TEMP",
        "POWER",
        "HEALTH",
    ]
    assert picture(Found(rows=rows), "member")[1].split()[:3] == ["MEMBER", "FREE", "TOTAL"]


@given(st.integers(70, 200), st.integers(5, 60), st.integers(1, 80))
def test_the_picture_fits_the_terminal_and_says_how_many_are_left_out(
    columns: int, lines: int, count: int
) -> None:
    gpus = tuple(make_gpu("/eu/a-member-with-a-name", "a-node-with-a-name", index) for index in range(count))
    shown = top_lines(Found(gpus=gpus), "gpu", Frame(True, (columns, lines)))
    assert len(shown) < lines
    assert all(width(line) <= max(columns, 87) for line in shown[1:])
    left_out = count - (len(shown) - 2)
    assert left_out == 0 or plain(shown[-1]) == f"and {left_out + 1} more"


def test_cells_stand_under_each_other() -> None:
    lines = aligned([[[("A", "")], [("B", "")]], [[("long", "red")], [("x", "")]]])
    assert [plain(line) for line in lines] == ["A     B", "long  x"]
    assert aligned([]) == []


def test_in_a_pipe_lines_are_shown_again_only_if_they_changed(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(watch=True) as screen:
        assert screen.size is None
        for text in ("one", "one", "two"):
            screen.show([[(text, "red")]])
    assert capsys.readouterr().out == "one\ntwo\n"
