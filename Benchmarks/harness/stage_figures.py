"""Times of stages, from ordo-one's benchmark, beside what is known of others. For people: nothing is judged by them."""
import json

from report import figure


def times(text):
    """Seconds that a run of each stage took in the median, from benchmark's output in the format `jmh`."""
    line = next(line for line in text.splitlines() if line.startswith("[{"))
    found = {}
    for entry in json.loads(line):
        # package.benchmark.TARGET.NAME
        name = entry["benchmark"].split(".", 3)[3]
        found[name] = entry["secondaryMetrics"]["Time (wall clock)"]["scorePercentiles"]["50.0"] / 1e6
    return found


def openssl_rate(text):
    """Bytes a second, from `openssl speed -mr`; None if it failed."""
    for line in text.splitlines():
        if line.startswith("+F:"):
            return float(line.rsplit(":", 1)[1])
    return None


def size_of(stage):
    """Bytes of the records of a stage; None for those that have none."""
    kind, _, size = stage.partition("/")
    return int(size) if kind in ("seal", "open") else None


def markdown(stages, seconds, counts, openssl):
    """One table of all stages. `stages` is what StageCounts tells of each, by name; `openssl` rates by size."""
    lines = ["| stage | ns | MB/s | a second | allocations | instructions | openssl speed, MB/s |",
             "|---|" + "---:|" * 6]
    for name, stage in stages.items():
        time = seconds[name] / stage["operations"]
        rate = figure(stage["bytes"] / time / 1e6) if stage["bytes"] else ""
        count = counts.get(name, {})
        cells = [name, figure(time * 1e9), rate, figure(1 / time)]
        cells += [f"{count[one]:,}" if one in count else "" for one in ("allocations", "instructions")]
        other = openssl.get(size_of(name))
        lines.append("| " + " | ".join([*cells, figure(other / 1e6) if other else ""]) + " |")
    return "\n".join(lines)
