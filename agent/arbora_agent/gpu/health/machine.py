"""The health of one GPU over time: errors and readings in, a state with its reason out. Pure.

    heard(xid)     an error code of the driver          saw(reading)   the device at one moment
    gone()         the driver lists it no longer        tick()         only time has passed

A GPU is as bad as the worst finding against it. It gets worse at once. It gets better no sooner than HOLD after
the last change, and from Draining and Unhealthy only by way of Recovering: ten clean minutes.

What ends an error that asks for a reset, the first of:
  * the driver's recovery action reads "none", 30 s later or more
  * a reading shows that the driver or the device began anew, or it came back to the bus
  * where the driver has no recovery action: ten minutes of work without another error, or a day without one
So an error of an application, which changes nothing here, never costs a GPU, and no error costs it for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbora.gpus.health import Health
from arbora_agent.gpu.health import conditions, recovery
from arbora_agent.gpu.health.finding import CLEAN, DAY, GRACE, HOLD, SETTLED, Ends, Finding
from arbora_agent.gpu.health.trends import Trends
from arbora_agent.gpu.health.xids import COMPANIONS_OF_48, Meaning, XidRule, rule_of
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading, Xid

CONTAINED, DOUBLE_BIT, REPLACED = 94, 48, 63
WELL = "nothing is known against it"
_ERROR_HEALTH = {
    Meaning.RESET: Health.UNHEALTHY,
    Meaning.REBOOT: Health.UNHEALTHY,
    Meaning.DRAIN: Health.DRAINING,
}
_ADVICE = {
    Meaning.RESET: "reset it",
    Meaning.REBOOT: "restart its machine",
    Meaning.DRAIN: "reset it when it is free",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a GPU is good for."""

    health: Health
    reason: str
    since: float
    """When it became so."""


class HealthMachine:
    """One GPU. Times are seconds of one clock that never goes back."""

    def __init__(self, now: float) -> None:
        self.verdict = Verdict(Health.HEALTHY, WELL, now)
        self.xids = 0
        """Codes heard, those of applications too."""
        self.last_xid: int | None = None
        self.next_look: float | None = None
        """When it should be read anew, sooner than usual; None: no hurry."""
        self._findings: dict[str, Finding] = {}
        self._trends = Trends()
        self._times: dict[int, list[float]] = {}
        self._worked_at: dict[str, float] = {}
        self._action: int | None = None
        self._fault_at: float | None = None
        self._fault = ""
        self._standing = False
        self._away = False
        self._settled = False

    def heard(self, xid: Xid, now: float) -> Verdict:
        """The driver reported an error, now or `xid.age` seconds ago."""
        at = now - xid.age
        rule = rule_of(xid.code)
        self.xids += 1
        self.last_xid = xid.code
        times = [each for each in self._times.get(xid.code, ()) if each > now - DAY]
        self._times[xid.code] = sorted([*times, at])
        if xid.code in COMPANIONS_OF_48 and self._near(DOUBLE_BIT, at):
            self._findings.pop(_code(DOUBLE_BIT), None)
        if rule.meaning in _ERROR_HEALTH:
            if xid.code != DOUBLE_BIT or not any(self._near(code, at) for code in COMPANIONS_OF_48):
                self._error(rule, at)
        elif rule.meaning is Meaning.SUSPECT:
            self._until(rule, Health.DEGRADED, f"{_words(rule)}", at, at + CLEAN)
        elif rule.meaning is Meaning.REPEATED and len(self._times[xid.code]) > 1:
            words = f"{_words(rule)}, {len(self._times[xid.code])} times within a day"
            self._until(rule, Health.DEGRADED, words, at, self._times[xid.code][-2] + DAY)
        if rule.meaning is not Meaning.APPLICATION:
            self.next_look = now
        # What happened long ago may be over: the first reading tells.
        return self.tick(now) if self._settled or xid.age < CLEAN else self.verdict

    def saw(self, reading: GpuReading, facts: GpuFacts, now: float, *, siblings_links: int = 0) -> Verdict:
        """The device was read. siblings_links: the most NVLinks of a like device on the node."""
        self.next_look = None
        self._take("gone", None)
        for code, found in conditions.shown(reading, facts, now):
            self._take(code, found)
        for code, found in self._trends.shown(reading, siblings_links, now):
            self._take(code, self._with_replaced(found, now))
        if self._trends.uncontained(self._last_time(CONTAINED), now):
            words = "uncorrected memory errors that were not contained: reset it"
            self._put(Finding("uncorrected", Health.UNHEALTHY, words, now, Ends.RESET))
        elif self._trends.uncorrected_at is not None:
            self.next_look = self._trends.uncorrected_at + GRACE
        if reading.recovery_action is not None:
            self._action = reading.recovery_action
        came_back = self._away and reading.answer is Answer.ANSWERS
        if reading.answer is not Answer.SILENT:
            self._away = reading.answer is not Answer.ANSWERS
        self._end_errors(reading, came_back, now)
        self._settled = self._judge(now)
        return self.verdict

    def gone(self, now: float) -> Verdict:
        """The driver lists the device no longer."""
        self._away = True
        self._take("gone", Finding("gone", Health.UNHEALTHY, "the driver no longer lists it", now, Ends.READING))
        self._settled = self._judge(now)
        return self.verdict

    def began_anew(self, now: float) -> None:
        """The driver was loaded anew: what was wrong before is behind it. The next reading judges."""
        self._trends.reset_at = now

    def tick(self, now: float) -> Verdict:
        """Only time has passed."""
        self._judge(now)
        return self.verdict

    # what is known

    def _error(self, rule: XidRule, at: float) -> None:
        words = f"{_words(rule)}: {_ADVICE[rule.meaning]}"
        self._put(Finding(_code(rule.code), _ERROR_HEALTH[rule.meaning], words, at, Ends.RESET))

    def _until(self, rule: XidRule, health: Health, words: str, at: float, until: float) -> None:
        self._put(Finding(_code(rule.code), health, words, at, Ends.TIME, until))

    def _put(self, finding: Finding) -> None:
        self._findings[finding.code] = finding
        if finding.ends is Ends.RESET:
            self._worked_at[finding.code] = self._trends.worked

    def _take(self, code: str, found: Finding | None) -> None:
        if found is None:
            self._findings.pop(code, None)
        else:
            self._findings[code] = found

    def _with_replaced(self, found: Finding | None, now: float) -> Finding | None:
        """Memory whose replacement the driver announced by a code waits for a reset: drained even while it works,
        and until the reset, or it would flap with the work."""
        if found is None or found.code != "remap-pending" or found.health is Health.DRAINING:
            return found
        before = self._findings.get(found.code)
        announced = any(self._last_time(code, now - DAY) is not None for code in (DOUBLE_BIT, REPLACED))
        if announced or (before is not None and before.health is Health.DRAINING):
            words = "memory failed and is to be replaced by a reset"
            return Finding(found.code, Health.DRAINING, words, found.at, found.ends)
        return found

    def _end_errors(self, reading: GpuReading, came_back: bool, now: float) -> None:
        reset_at = now if came_back else self._trends.reset_at
        for code, each in tuple(self._findings.items()):
            if each.ends is not Ends.RESET:
                continue
            acquitted = reading.recovery_action == recovery.NONE and now - each.at >= SETTLED
            began_anew = reset_at is not None and reset_at > each.at
            no_verdict = self._action is None and reading.answer is Answer.ANSWERS
            worked = self._trends.worked - self._worked_at.get(code, self._trends.worked) >= CLEAN
            if acquitted or began_anew or (no_verdict and (worked or now - each.at >= DAY)):
                del self._findings[code]
                self._worked_at.pop(code, None)

    def _near(self, code: int, at: float) -> bool:
        return any(abs(each - at) <= GRACE for each in self._times.get(code, ()))

    def _last_time(self, code: int, after: float = float("-inf")) -> float | None:
        times = [each for each in self._times.get(code, ()) if each > after]
        return times[-1] if times else None

    # what follows

    def _judge(self, now: float) -> bool:
        """Change the verdict if it is time to. Always true, for what has been judged at least once."""
        for code, each in tuple(self._findings.items()):
            if each.ends is Ends.TIME and now >= each.until:
                del self._findings[code]
        worst = max(self._findings.values(), key=lambda each: (each.health.severity, each.at), default=None)
        health, reason = (worst.health, worst.sentence) if worst is not None else (Health.HEALTHY, WELL)
        faults = [each for each in self._findings.values() if not each.health.takes_work]
        if faults:
            assert worst is not None
            self._fault = worst.sentence
        if faults or self._standing:
            # An error of long ago that is over by the first reading has been clean since then.
            self._fault_at = now if self._settled else max((each.at for each in faults), default=self._fault_at)
            self._standing = bool(faults)
        if not faults and self._fault_at is not None:
            if now - self._fault_at < CLEAN:
                health = Health.RECOVERING
                reason = f"over: {self._fault}; healthy after ten clean minutes"
            else:
                self._fault_at = None
        others = len(self._findings) - 1
        if others > 0 and worst is not None and health is worst.health:
            reason += f" (and {others} more)"
        self._change(health, reason, now)
        return True

    def _change(self, health: Health, reason: str, now: float) -> None:
        before = self.verdict
        if health is before.health:
            if reason != before.reason:
                self.verdict = Verdict(health, reason, before.since)
            return
        better = health.severity < before.health.severity
        if better and self._settled and now - before.since < HOLD:
            return
        self.verdict = Verdict(health, reason, now)


def _code(xid: int) -> str:
    return f"xid-{xid}"


def _words(rule: XidRule) -> str:
    return f"XID {rule.code}, {rule.words}"
