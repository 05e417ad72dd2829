"""What stages cost in allocations and instructions, and whether that has grown. No clock is looked at."""
import json

# Instructions follow compilers and libraries a little; what the code itself has become is more than this.
TOLERANCE = 2


def instructions(text):
    """Instructions of the counted region, from what callgrind wrote."""
    for line in text.splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise ValueError("no totals in callgrind's output")


def per_operation(allocations, total, operations):
    """Four digits tell one allocation in ten thousand operations from none."""
    counts = {"allocations": round(allocations / operations, 4), "instructions": round(total / operations, 1)}
    return {name: int(count) if count.is_integer() else count for name, count in counts.items()}


def smaller(one, other):
    """The smaller of each count: a thread that was woken once too often costs more, and nothing ever costs less."""
    return {name: min(one[name], other[name]) for name in one}


def grown(accepted, found):
    """Which counts of one stage are too large, as (count, accepted, found)."""
    limits = {"allocations": accepted["allocations"], "instructions": accepted["instructions"] * (1 + TOLERANCE / 100)}
    return [(name, accepted[name], found[name]) for name in limits if found[name] > limits[name]]


def shrunk(accepted, found):
    """The same for those that are small enough to be accepted anew, so that they stay so."""
    limits = {"allocations": accepted["allocations"], "instructions": accepted["instructions"] * (1 - TOLERANCE / 100)}
    return [(name, accepted[name], found[name]) for name in limits if found[name] < limits[name]]


def change(stage, name, before, now):
    more = f" ({100 * (now / before - 1):+.1f} %)" if before else ""
    return f"  {stage}: {name} per operation were {before:,}, are {now:,}{more}"


def compare(accepted, found):
    """(failures, hints) as lines for a person; all is well if there are no failures."""
    failures, hints = [], []
    for stage, counts in found.items():
        if stage not in accepted:
            failures.append(f"  {stage}: has no accepted counts yet")
            continue
        failures += [change(stage, *one) for one in grown(accepted[stage], counts)]
        hints += [change(stage, *one) for one in shrunk(accepted[stage], counts)]
    failures += [f"  {stage}: there is no such stage any more" for stage in accepted if stage not in found]
    return failures, hints


def verdict(accepted, found, here):
    """(whether all is well, what to say). `accepted` is the committed file, `here` what the counts were taken with."""
    failures, hints = compare(accepted["stages"], found)
    if failures:
        lines = ["Stages cost more than what was accepted:", *failures,
                 f"Allocations may not grow at all, instructions by {TOLERANCE} %."]
        other = {name: version for name, version in accepted["with"].items() if here.get(name) != version}
        if other:
            lines.append("The accepted counts were taken with " + ", ".join(
                f"{name} {version} (here {here.get(name)})" for name, version in other.items())
                + ", which may be all there is to it.")
        lines += ["Where it comes from: `callgrind_annotate .bench/stages/STAGE.callgrind`, with - for / in its name.",
                  "If it is worth it: `make stages-accept`, and say in the commit why."]
        return False, "\n".join(lines)
    lines = [f"{len(found)} stages cost no more than what was accepted."]
    if hints:
        lines += ["Some cost less; `make stages-accept` keeps it that way:", *hints]
    return True, "\n".join(lines)


def dump(found, here):
    """The committed file: one stage a line, so that a diff shows what has changed."""
    stages = ",\n".join(f"    {json.dumps(stage)}: {json.dumps(counts)}" for stage, counts in found.items())
    return f'{{\n  "with": {json.dumps(here)},\n  "stages": {{\n{stages}\n  }}\n}}\n'
