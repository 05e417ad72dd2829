"""The table of the figures by scale."""
import contextlib
import io
import unittest

from scale_report import Figures, markdown, quantity


def measured():
    figures = Figures()
    figures.version = "RelayVPN 1"
    with contextlib.redirect_stderr(io.StringIO()):
        figures.begin("sites", 10_000)
        figures.noise(3)
        figures.add("each", "RSS for each", 23.95, "KiB", 24)
        figures.add("cpu", "CPU", 2.5, "%", 2)
        figures.add("after", "RSS after", 30, "MiB")
        figures.begin("relays", 1_000)
        figures.fail("first\nlast")
    return figures


def report(figures):
    return {"machine": {"cpus": 2, "model": "m", "kernel": "k", "openssl": "o"}, "seconds": 40,
            "quiet %": 5} | figures.report()


class Table(unittest.TestCase):
    def test_targets_are_judged(self):
        text = markdown(report(measured()))
        self.assertIn("| **10,000 idle SiteManagers** | | |", text)
        self.assertIn("| RSS for each | 23.9 KiB | 24.0 KiB: met |", text)
        self.assertIn("| CPU | 2.50 % | 2.00 %: missed |", text)
        self.assertIn("| RSS after | 30.0 MiB |  |", text)
        self.assertIn("RelayVPN 1. All parts on one machine: 2 CPUs, m, Linux k, o. CPU time over 40 s.", text)

    def test_what_could_not_be_measured_is_named(self):
        figures = measured()
        self.assertEqual(figures.report()["failures"], [{"part": "relays", "text": "first\nlast"}])
        self.assertIn("- relays: last", markdown(report(figures)))

    def test_a_busy_machine_is_named(self):
        figures = measured()
        self.assertNotIn("quiet", markdown(report(figures)))
        figures.noise(40)
        figures.noise(1)
        self.assertIn("other work took up to 40 %", markdown(report(figures)))

    def test_less_than_nothing_keeps_its_digits(self):
        self.assertEqual([quantity(-1234.5, "B"), quantity(-0.25, ""), quantity(0, "%")], ["-1,234 B", "-0.25", "0 %"])


if __name__ == "__main__":
    unittest.main()
