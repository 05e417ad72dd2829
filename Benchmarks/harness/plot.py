"""The result as bars, in SVG: no library, no script in it, readable in light and dark."""
from xml.sax.saxutils import escape

from report import OURS, figure

PANELS = [
    ("One TCP stream to the device, Gbit/s", "throughput-up-1 Gbit/s"),
    ("One TCP stream from the device, Gbit/s", "throughput-down-1 Gbit/s"),
    ("CPU of the whole machine, seconds per GB to the device (less is better)", "cpu-up-1-machine s/GB"),
    ("64-byte round trip, idle, median µs (less is better)", "latency-idle-p50 µs"),
    ("64-byte round trip beside a bulk stream, median µs (less is better)", "latency-up-p50 µs"),
    ("New connections a second", "connections 1/s"),
]
BAR, GAP, LABEL, WIDTH, VALUE = 18, 6, 150, 520, 150


def svg(results):
    """A panel for each metric that was measured: a bar for each system's median, a line from smallest to largest."""
    parts, y = [], 10
    for title, metric in PANELS:
        rows = [(system, metrics[metric]) for system, metrics in results.items() if metric in metrics]
        if not rows:
            continue
        longest = max(summary["max"] for _, summary in rows) or 1
        scale = WIDTH / longest
        y += 20
        parts.append(f'<text x="10" y="{y}" class="title">{escape(title)}</text>')
        y += 10
        for system, summary in rows:
            middle, length = y + BAR / 2, summary["median"] * scale
            kind = "ours" if system == OURS else "other"
            parts += [
                f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(system)}</text>',
                f'<rect x="{LABEL}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" class="{kind}"/>',
                f'<line x1="{LABEL + summary["min"] * scale:.1f}" x2="{LABEL + summary["max"] * scale:.1f}" '
                f'y1="{middle}" y2="{middle}"/>',
                f'<text x="{LABEL + summary["max"] * scale + 6:.1f}" y="{middle + 4}">{figure(summary["median"])}</text>']
            y += BAR + GAP
        y += 10
    total = LABEL + WIDTH + VALUE
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {y + 10}" width="{total}" '
            f'height="{y + 10}">\n<style>text {{ font: 13px sans-serif; fill: #24292f }} '
            '.title { font-weight: bold } .ours { fill: #1f6feb } .other { fill: #8b949e } line { stroke: #d29922; '
            'stroke-width: 2 }</style>\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
