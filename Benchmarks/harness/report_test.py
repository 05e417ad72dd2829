"""What is printed, plotted, and read from iperf3."""
import json
import unittest
import xml.etree.ElementTree

from measurements import rates
from network import Failure
from plot import svg
from report import figure, markdown
from summary import collect

RESULTS = collect([("raw", {"throughput-up-1 Gbit/s": 40}), ("relayvpn", {"throughput-up-1 Gbit/s": 8}),
                   ("ssh", {"throughput-up-1 Gbit/s": 4}), ("relayvpn", {"throughput-up-1 Gbit/s": 10})])


def report(background):
    return {"rounds": 2, "seconds": 1, "offloads": "on", "background %": background, "quiet %": 5, "results": RESULTS,
            "machine": {"cpus": 2, "model": "m", "kernel": "k", "openssl": "o"}, "versions": {"ssh": "OpenSSH 9"},
            "failures": [{"round": 1, "system": "ssh", "what": "memory", "text": "first\nlast"}]}


class Report(unittest.TestCase):
    def test_figures_keep_three_digits(self):
        self.assertEqual([figure(value) for value in (0, 0.0123, 1.234, 12.34, 1234.5)],
                         ["0", "0.012", "1.23", "12.3", "1,234"])

    def test_tables(self):
        text = markdown(report(1))
        self.assertIn("| throughput-up-1 Gbit/s | 40.0 | 9.00 (8.00–10.0) | 4.00 |", text)
        self.assertIn("| throughput-up-1 Gbit/s | 0.23x | 2.25x |", text)
        self.assertIn("- round 1, ssh, memory: last", text)
        self.assertNotIn("quiet", text)

    def test_a_busy_machine_is_named(self):
        self.assertIn("**Not a quiet machine**", markdown(report(40)))

    def test_the_plot_is_well_formed(self):
        xml.etree.ElementTree.fromstring(svg(RESULTS))


class Iperf3(unittest.TestCase):
    def test_both_directions_are_added(self):
        text = json.dumps({"end": {
            "sum_received": {"bits_per_second": 8, "bytes": 1},
            "sum_received_bidir_reverse": {"bits_per_second": 16, "bytes": 2},
            "streams": [{"receiver": {"bits_per_second": 8}}, {"receiver": {"bits_per_second": 16}}]}})
        self.assertEqual(rates(text), (24, 3, [8, 16]))

    def test_its_errors_are_failures(self):
        with self.assertRaises(Failure):
            rates('{"error": "unable to connect"}')


if __name__ == "__main__":
    unittest.main()
