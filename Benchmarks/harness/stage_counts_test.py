"""Whether counts have grown, and what is said of it."""
import json
import unittest

from stage_counts import compare, dump, instructions, per_operation, smaller, verdict

HERE = {"swift": "6.3.1", "openssl": "3.0.19"}


def accepted(**stages):
    return {"with": HERE, "stages": stages}


def counts(allocations, instructions):
    return {"allocations": allocations, "instructions": instructions}


class Counting(unittest.TestCase):
    def test_instructions_are_callgrinds_totals(self):
        self.assertEqual(instructions("events: Ir\nfn=(1) totals\nsummary: 0\n\ntotals: 7210211\n"), 7210211)
        with self.assertRaises(ValueError):
            instructions("events: Ir\n")

    def test_whole_numbers_are_written_as_such(self):
        self.assertEqual(json.dumps(per_operation(0, 7210211, 10_000)), '{"allocations": 0, "instructions": 721}')

    def test_one_allocation_in_many_operations_is_seen(self):
        self.assertEqual(per_operation(1, 7210211, 10_000), counts(0.0001, 721.0))
        self.assertEqual(per_operation(3000, 41_017_167, 1000), counts(3, 41_017.2))

    def test_the_smaller_of_each_count_is_kept(self):
        self.assertEqual(smaller(counts(2.001, 10), counts(2, 11)), counts(2, 10))


class Comparison(unittest.TestCase):
    def test_within_the_tolerance(self):
        self.assertEqual(compare({"a": counts(2, 1000)}, {"a": counts(2, 1020)}), ([], []))

    def test_instructions_beyond_the_tolerance(self):
        failures, _ = compare({"a": counts(0, 1000)}, {"a": counts(0, 1021)})
        self.assertEqual(failures, ["  a: instructions per operation were 1,000, are 1,021 (+2.1 %)"])

    def test_a_single_allocation_is_too_much(self):
        failures, _ = compare({"a": counts(0, 1000)}, {"a": counts(0.0001, 1000)})
        self.assertEqual(failures, ["  a: allocations per operation were 0, are 0.0001"])

    def test_less_is_no_failure(self):
        failures, hints = compare({"a": counts(3, 1000)}, {"a": counts(2, 900)})
        self.assertEqual(failures, [])
        self.assertEqual(len(hints), 2)

    def test_stages_that_are_new_or_gone(self):
        failures, _ = compare({"old": counts(0, 1)}, {"new": counts(0, 1)})
        self.assertEqual([line.split(":")[0].strip() for line in failures], ["new", "old"])


class Verdict(unittest.TestCase):
    def test_all_is_well(self):
        self.assertEqual(verdict(accepted(a=counts(0, 10)), {"a": counts(0, 10)}, HERE),
                         (True, "1 stages cost no more than what was accepted."))

    def test_a_failure_says_what_and_what_to_do(self):
        passed, text = verdict(accepted(a=counts(0, 10)), {"a": counts(1, 10)}, HERE)
        self.assertFalse(passed)
        self.assertIn("a: allocations per operation were 0, are 1", text)
        self.assertIn("make stages-accept", text)
        self.assertNotIn("were taken with", text)

    def test_another_toolchain_is_named(self):
        _, text = verdict(accepted(a=counts(0, 10)), {"a": counts(0, 20)}, HERE | {"swift": "6.4"})
        self.assertIn("taken with swift 6.3.1 (here 6.4), which", text)

    def test_the_committed_file_can_be_read(self):
        stages = {"a/b": counts(0, 1.5)}
        self.assertEqual(json.loads(dump(stages, HERE)), {"with": HERE, "stages": stages})
        self.assertEqual(len(dump({"a": counts(0, 1), "b": counts(0, 1)}, HERE).splitlines()), 7)


if __name__ == "__main__":
    unittest.main()
