"""Times of stages, and their table."""
import json
import unittest

from stage_figures import markdown, openssl_rate, size_of, times


class Figures(unittest.TestCase):
    def test_times_are_the_medians_of_the_wall_clock(self):
        metrics = {"Time (wall clock)": {"scorePercentiles": {"50.0": 1500, "99.0": 9000}}}
        entry = {"benchmark": "package.benchmark.StageBenchmarks.seal/64", "secondaryMetrics": metrics}
        self.assertEqual(times("Building\n" + json.dumps([entry]) + "\n"), {"seal/64": 0.0015})

    def test_openssls_rate(self):
        self.assertEqual(openssl_rate("+DT:AES-256-GCM:1:64\n+H:64\n+F:25:AES-256-GCM:835048775.26\n"), 835048775.26)
        self.assertIsNone(openssl_rate("speed: unknown option\n"))

    def test_only_records_have_a_size(self):
        self.assertEqual([size_of(name) for name in ("seal/64", "open/16384", "stack/in-64k")], [64, 16384, None])

    def test_the_table(self):
        stages = {"seal/64": {"operations": 1000, "bytes": 64}, "filter/1-agent": {"operations": 10, "bytes": 0}}
        text = markdown(stages, {"seal/64": 0.001, "filter/1-agent": 1e-6},
                        {"seal/64": {"allocations": 0, "instructions": 5149.5}}, {64: 2e9})
        self.assertIn("| seal/64 | 1,000 | 64.0 | 1,000,000 | 0 | 5,149.5 | 2,000 |", text)
        self.assertIn("| filter/1-agent | 100 |  | 10,000,000 |  |  |  |", text)


if __name__ == "__main__":
    unittest.main()
