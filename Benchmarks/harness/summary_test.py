"""What many rounds come to."""
import unittest

from summary import collect, jain, ratio, summarize


class Summary(unittest.TestCase):
    def test_median_and_extremes(self):
        self.assertEqual(summarize([3, 1, None, 10]), {"median": 3, "min": 1, "max": 10, "rounds": 3})
        self.assertIsNone(summarize([None]))

    def test_fairness(self):
        self.assertAlmostEqual(jain([5, 5, 5, 5]), 1)
        self.assertAlmostEqual(jain([8, 0, 0, 0]), 0.25)
        self.assertIsNone(jain([0, 0]))

    def test_ratio_of_what_is_missing(self):
        self.assertEqual(ratio(3, 2), 1.5)
        self.assertIsNone(ratio(None, 2))
        self.assertIsNone(ratio(3, 0))

    def test_rounds_are_put_together_by_system_and_metric(self):
        found = collect([("a", {"x": 1, "y": None}), ("b", {"x": 5}), ("a", {"x": 3})])
        self.assertEqual(found["a"]["x"]["median"], 2)
        self.assertNotIn("y", found["a"])
        self.assertEqual(list(found), ["a", "b"])


if __name__ == "__main__":
    unittest.main()
