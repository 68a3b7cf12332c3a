"""What a job measured of itself, beside what was expected."""

from __future__ import annotations

from stoker.cli.texts import t
from stoker.telemetry import Telemetry


def measured(telemetry: Telemetry) -> list[tuple[str, str]]:
    """Name and ``412 tokens/s, expected 455 (250 to 569): 91%`` for each value the job expects something of."""
    found = []
    for name, expected in telemetry.expectations.items():
        value = telemetry.values.get(name)
        if not isinstance(value, (int, float)) or not expected.value:
            continue
        text = t(
            "{value} {unit}, expected {due} ({low} to {high}): {share}",
            value=f"{value:,.4g}",
            unit=expected.unit,
            due=f"{expected.value:,.4g}",
            low=f"{expected.low:,.4g}",
            high=f"{expected.high:,.4g}",
            share=f"{value / expected.value:.0%}",
        )
        found.append((name, text))
    return found
