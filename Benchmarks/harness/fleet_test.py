"""How a fleet is divided among processes."""
import unittest

from fleet import shares


class Shares(unittest.TestCase):
    def test_few_of_equal_size(self):
        names = list(range(10))
        self.assertEqual(shares(names, 10), [names])
        self.assertEqual(shares(names, 4), [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]])

    def test_nobody_is_left_out_and_none_is_too_large(self):
        for count in range(1, 50):
            for most in range(1, 12):
                parts = shares(list(range(count)), most)
                self.assertEqual(sum(parts, []), list(range(count)))
                self.assertLessEqual(max(map(len, parts)), most)


if __name__ == "__main__":
    unittest.main()
