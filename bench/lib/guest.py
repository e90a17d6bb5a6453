# SPDX-License-Identifier: Apache-2.0
"""What the guest says on its console (docs/spec/guest.md, section 6), read."""

import re

from process import RunError, now

START_TIMEOUT_S = 90
VERIFY_TIMEOUT_S = 120
REPORT = re.compile(r"^vmm-guest: t_ms=(\d+) pages=(\d+) pass=\d+ gap_us=(\d+) maxgap_us=(\d+) bad=(\d+)")


class GuestBad(Exception):
    """The guest found a page that is not what it wrote: nothing that was measured counts."""


def wait_ready(console):
    console.wait_for(r"^vmm-guest: ready ", START_TIMEOUT_S)


def reset_gap(console):
    console.send(b"g")


def samples(*consoles):
    """(time, pages) of all reports, in order."""
    found = []
    for console in consoles:
        with console.changed:
            lines = list(console.lines)
        for at, text in lines:
            match = REPORT.match(text)
            if match:
                found.append((at, int(match.group(2))))
    return sorted(found)


def _pages_at(points, at):
    for (t0, p0), (t1, p1) in zip(points, points[1:]):
        if t0 <= at <= t1 and t1 > t0:
            return p0 + (p1 - p0) * (at - t0) / (t1 - t0)
    return None


def rate(points, start, end):
    """Thousand pages a second between two times; None when the reports do not cover them."""
    first, last = _pages_at(points, start), _pages_at(points, end)
    if first is None or last is None or end <= start:
        return None
    return (last - first) / (end - start) / 1000


def read_gap_ms(console):
    """The longest gap since the reset, out of a report asked for now."""
    with console.changed:
        after = len(console.lines)
    console.send(b"r")
    _, match = console.wait_for(REPORT.pattern, 10, after)
    return int(match.group(4)) / 1000


def verify(console):
    """Stops the guest and lets it check every word. Raises GuestBad unless it says PASS."""
    started = now()
    with console.changed:
        after = len(console.lines)
    console.send(b"s")
    _, match = console.wait_for(r"^vmm-guest: (PASS|FAIL)", VERIFY_TIMEOUT_S, after)
    with console.changed:
        text = [line for _, line in console.lines]
    bad = [line for line in text if line.startswith("BAD ")]
    verified = [line for line in text if line.startswith("vmm-guest: verified ")]
    if match.group(1) != "PASS" or bad:
        raise GuestBad("; ".join((bad[:3] + verified[-1:]) or ["FAIL"]))
    if not verified:
        raise RunError("the guest said PASS but not what it had verified")
    return {"verified": verified[-1].removeprefix("vmm-guest: verified "), "verify_s": now() - started}
