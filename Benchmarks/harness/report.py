"""The result as Markdown, and the machine that it was measured on."""
import os
import platform
import subprocess

from summary import ratio

OURS = "relayvpn"


def machine():
    """What a reader needs to know of where it was measured."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout.strip()
    return {"cpus": os.cpu_count(), "model": model, "kernel": platform.release(), "openssl": openssl,
            "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)}


def figure(value):
    """Three digits that matter, thousands with commas."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell(summary):
    if summary is None:
        return "–"
    if summary["rounds"] == 1:
        return figure(summary["median"])
    return f"{figure(summary['median'])} ({figure(summary['min'])}–{figure(summary['max'])})"


def metrics_of(results):
    """All metrics, in the order in which they were measured."""
    return list(dict.fromkeys(metric for metrics in results.values() for metric in metrics))


def table(results, metrics, text):
    systems = list(results)
    lines = ["| | " + " | ".join(systems) + " |", "|---|" + "---:|" * len(systems)]
    for metric in metrics:
        lines.append(f"| {metric} | " + " | ".join(text(system, metric) for system in systems) + " |")
    return lines


def markdown(report):
    results, about = report["results"], report["machine"]
    metrics = metrics_of(results)
    lines = [f"Medians of {report['rounds']} rounds, {report['seconds']} s a figure, smallest and largest in brackets. "
             f"All parts on one machine: {about['cpus']} CPUs, {about['model']}, Linux {about['kernel']}, "
             f"{about['openssl']}. Offloads of the virtual links: {report['offloads']}.", ""]
    if report["background %"] > report["quiet %"]:
        lines += [f"**Not a quiet machine**: other work took up to {report['background %']:.0f} % of it between the measurements. "
                  "These figures are no basis for comparison.", ""]
    lines += [f"- {name}: {version}" for name, version in report["versions"].items()]
    lines += ["", *table(results, metrics, lambda system, metric: cell(results[system].get(metric)))]
    if OURS in results and len(results) > 1:
        def times(system, metric):
            value = ratio(*(results[one].get(metric, {}).get("median") for one in (OURS, system)))
            return f"{figure(value)}x" if value is not None else "–"
        lines += ["", f"How many times each system's figure {OURS}'s is (of throughput and rates more is better, of "
                  "CPU, latency, memory, loss and recovery less):", "",
                  *table({name: None for name in results if name != OURS}, metrics, times)]
    if report["failures"]:
        lines += ["", "Failed:", ""]
        lines += [f"- round {one['round']}, {one['system']}, {one['what']}: {one['text'].splitlines()[-1]}"
                  for one in report["failures"]]
    return "\n".join(lines) + "\n"
