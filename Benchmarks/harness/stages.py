"""`make stages`, `make stages-check`, `make stages-accept`: what each stage of the data path costs by itself.

usage: stages.py show|check|accept

Counts come from StageCounts in callgrind: each stage in a process of its own, as many at once as there are processors,
since no other work changes a count. Exit status: 0 if all is well, 1 if a count has grown, 2 if it can't run.
"""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

from report import machine
from stage_counts import dump, grown, instructions, per_operation, smaller, verdict
from stage_figures import markdown, openssl_rate, size_of, times

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "Benchmarks" / "Stages"
ACCEPTED = PACKAGE / "counts.json"
# What callgrind wrote of each stage, for a look at where instructions are spent.
PROFILES = ROOT / ".bench" / "stages"
# What looks grown is counted again: a thread of the relay may have been woken once too often.
TRIES = 3


def cannot_run(reason, way_out):
    print(f"This cannot run here: {reason}\nWhat to do: {way_out}", file=sys.stderr)
    sys.exit(2)


def swift(*arguments, counts_only=True, **options):
    environment = os.environ | ({"STAGES_COUNTS_ONLY": "1"} if counts_only else {})
    return subprocess.run(["swift", *arguments], cwd=PACKAGE, env=environment, check=True, text=True, **options)


def build():
    """Where StageCounts is."""
    if ROOT.name.lower() == PACKAGE.name.lower():
        cannot_run(f"SwiftPM tells packages apart by the names of their folders, and {ROOT} is called like {PACKAGE}.",
                   "give the clone's folder another name")
    if shutil.which("valgrind") is None:
        cannot_run("valgrind is missing, which counts instructions.", "Scripts/install-dependencies, as root")
    arguments = ["build", "-c", "release"]
    swift(*arguments, "--product", "StageCounts", stdout=sys.stderr)
    return os.path.join(swift(*arguments, "--show-bin-path", stdout=subprocess.PIPE).stdout.strip(), "StageCounts")


def count(program, stage):
    """(what StageCounts tells of a stage, its counts)."""
    profile = PROFILES / f"{stage.replace('/', '-')}.callgrind"
    profile.unlink(missing_ok=True)
    # Swift's hashing has a seed, which would decide how often dictionaries look twice.
    environment = os.environ | {"SWIFT_DETERMINISTIC_HASHING": "1"}
    run = subprocess.run(
        ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}", program, stage],
        env=environment, capture_output=True, text=True, timeout=300, check=False)
    if run.returncode:
        cannot_run(f"stage {stage} failed: {run.stdout}{run.stderr[-2000:]}", "see above")
    told = json.loads(run.stdout)
    return told, per_operation(told["allocations"], instructions(profile.read_text()), told["operations"])


def count_all(program, accepted):
    """({stage: what StageCounts tells}, {stage: counts}); counts of those that are the same each time only."""
    PROFILES.mkdir(parents=True, exist_ok=True)
    stages = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda stage: count(program, stage), stages))
    told = {stage: one for stage, (one, _) in zip(stages, results)}
    counts = {stage: one for stage, (_, one) in zip(stages, results) if told[stage]["isRepeatable"]}
    for _ in range(TRIES - 1):
        for stage in counts:
            if stage in accepted and grown(accepted[stage], counts[stage]):
                counts[stage] = smaller(counts[stage], count(program, stage)[1])
    return told, counts


def version(*command):
    """The first word that begins with a digit and has a dot, of what a program says of itself."""
    text = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (text.stdout + text.stderr).replace("valgrind-", "").split()
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")


def processor():
    """What libraries choose their code by, as far as valgrind lets them see it."""
    flags = next((line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("flags")), "").split()
    return " ".join([os.uname().machine, *(flag for flag in ("avx2", "aes", "pclmulqdq") if flag in flags)])


def versions():
    return {"processor": processor(), "swift": version("swift", "--version"), "openssl": version("openssl", "version"),
            "glibc": os.confstr("CS_GNU_LIBC_VERSION").split()[1], "valgrind": version("valgrind", "--version")}


def openssl_rates(stages):
    """Bytes a second by size, of a second each; nothing without openssl."""
    if shutil.which("openssl") is None:
        return {}
    rates = {}
    for size in sorted({size_of(stage) for stage in stages} - {None}):
        run = subprocess.run(
            ["openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(size), "-evp", "aes-256-gcm"],
            capture_output=True, text=True, check=False)
        rates[size] = openssl_rate(run.stdout + run.stderr)
    return rates


def show(told, counts):
    # Its tools are built by the plugin, with much to tell.
    text = swift("package", "benchmark", "--format", "jmh", "--path", "stdout", "--no-progress", "--quiet",
                 counts_only=False, stdout=subprocess.PIPE).stdout
    about = machine()
    print(f"\nEach stage alone, per operation; medians. {about['cpus']} CPUs, {about['model']}, "
          f"Linux {about['kernel']}, {about['openssl']}.\n")
    print(markdown(told, times(text), counts, openssl_rates(told)))


def main(command):
    program = build()
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {"with": {}, "stages": {}}
    told, counts = count_all(program, accepted["stages"])
    here = versions()
    if command == "accept":
        ACCEPTED.write_text(dump(counts, here))
        print(f"Accepted the counts of {len(counts)} stages: {ACCEPTED.relative_to(ROOT)}")
        return 0
    if command == "show":
        show(told, counts)
        return 0
    passed, text = verdict(accepted, counts, here)
    print(text)
    return 0 if passed else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["show"], ["check"], ["accept"]):
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        cannot_run(f"{' '.join(error.cmd[:3])} failed.", "see above")
