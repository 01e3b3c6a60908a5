"""How soon first tokens came under each policy, as a picture: SVG, readable on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#0b6e4f", "#c0392b", "#2471a3", "#b9770e", "#7d3c98", "#5d6d7e", "#117a65", "#a04000")
_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 34, 46
_POINTS = 200
"""Points of a curve."""


def first_tokens_svg(ttft_s: Mapping[str, Sequence[float]], title: str) -> str:
    """Share of requests (upwards) whose first token had come after so many seconds (to the right, logarithmic)."""
    least = max(0.01, min(min(times) for times in ttft_s.values()))
    low, high = math.log10(least), math.log10(max(0.02, *(max(times) for times in ttft_s.values())))

    def x(seconds: float) -> float:
        return _LEFT + (math.log10(max(seconds, least)) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(share: float) -> float:
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            seconds = factor * 10.0**exponent
            if low <= math.log10(seconds) <= high:
                at = f"{x(seconds):.1f}"
                parts.append(f'<path d="M{at} {y(0):.1f}V{y(1):.1f}" stroke="#e5e7e9"/>')
                parts.append(f'<text x="{at}" y="{y(0) + 16:.1f}" text-anchor="middle">{seconds:g}</text>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M{_LEFT} {y(share):.1f}H{_WIDTH - _RIGHT}" stroke="#e5e7e9"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">seconds to the first token</text>')
    for number, (name, times) in enumerate(ttft_s.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        ordered = sorted(times)
        shares = [i / _POINTS for i in range(_POINTS + 1)]
        line = " ".join(f"{x(ordered[min(len(ordered) - 1, int(s * len(ordered)))]):.1f},{y(s):.1f}" for s in shares)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        row = _TOP + 18 * number
        parts.append(f'<path d="M{_WIDTH - _RIGHT + 12} {row + 6}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 36}" y="{row + 10}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
