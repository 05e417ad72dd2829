"""The figures by scale: what they are, what is wanted of them, and the table."""
import sys

from report import figure

TITLES = {"hosts": "The hosts, fresh, and {count:,} idle TCP flows through them", "relays": "{count:,} idle relays",
          "sites": "{count:,} idle SiteManagers"}


class Figures:
    """What is known so far, part by part."""

    def __init__(self):
        self.parts, self.failures = {}, []
        self.background, self.version = 0.0, None
        self._part = None

    def begin(self, part, count):
        self._part = part
        self.parts[part] = {"count": count, "figures": {}}

    def add(self, key, name, value, unit, target=None):
        """A target is what the figure is to be at most."""
        self.parts[self._part]["figures"][key] = {"name": name, "value": value, "unit": unit, "target": target}
        print(f"  {name}: {quantity(value, unit)}", file=sys.stderr)

    def fail(self, text):
        self.failures.append({"part": self._part, "text": text})
        print(f"  FAILED {self._part}: {text}", file=sys.stderr)

    def noise(self, percent):
        self.background = max(self.background, percent)

    def report(self):
        return {"version": self.version, "background %": self.background, "parts": self.parts,
                "failures": self.failures}


def quantity(value, unit):
    text = f"-{figure(-value)}" if value < 0 else figure(value)
    return f"{text} {unit}".strip()


def verdict(one):
    if one["target"] is None:
        return ""
    return f"{quantity(one['target'], one['unit'])}: {'met' if one['value'] <= one['target'] else 'missed'}"


def markdown(report):
    about = report["machine"]
    lines = [f"{report['version']}. All parts on one machine: {about['cpus']} CPUs, {about['model']}, "
             f"Linux {about['kernel']}, {about['openssl']}. CPU time over {report['seconds']} s.", ""]
    if report["background %"] > report["quiet %"]:
        lines += [f"**Not a quiet machine**: other work took up to {report['background %']:.0f} % of it before the "
                  "measurements. Times are upper bounds.", ""]
    lines += ["| | | at most |", "|---|---:|---|"]
    for name, part in report["parts"].items():
        lines.append(f"| **{TITLES[name].format(count=part['count'])}** | | |")
        lines += [f"| {one['name']} | {quantity(one['value'], one['unit'])} | {verdict(one)} |"
                  for one in part["figures"].values()]
    if report["failures"]:
        lines += ["", "Failed:", ""]
        lines += [f"- {one['part']}: {one['text'].splitlines()[-1]}" for one in report["failures"]]
    return "\n".join(lines) + "\n"
