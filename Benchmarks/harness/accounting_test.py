"""CPU time and memory from the kernel's texts."""
import os
import unittest

from accounting import Process, busy_ticks, memory, process_ticks, resident
from failure import Failure


class Accounting(unittest.TestCase):
    def test_busy_is_all_but_idle_waiting_and_stolen(self):
        self.assertEqual(busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 1\n"), 7600321)

    def test_a_process_with_brackets_in_its_name(self):
        fields = ["S"] + ["0"] * 10 + ["1", "20", "300", "4000"] + ["9"] * 30
        self.assertEqual(process_ticks("17 (a) b (c)) " + " ".join(fields)), 4321)

    def test_memory_now_and_at_most(self):
        self.assertEqual(memory("Name:\ta\nVmHWM:\t  30 kB\nVmRSS:\t  20 kB\n"), (20480, 30720))

    def test_a_process_that_has_no_memory_any_more(self):
        self.assertEqual(memory("Name:\ta\nState:\tZ (zombie)\n"), (0, 0))

    def test_what_resident_memory_consists_of(self):
        self.assertEqual(resident("VmRSS:\t  50 kB\nRssAnon:\t  20 kB\nRssFile:\t  30 kB\nRssShmem:\t  0 kB\n"),
                         {"all": 51200, "anonymous": 20480, "file": 30720})

    def test_a_process_that_is_there(self):
        own = Process(os.getpid())
        self.assertGreater(own.resident()["all"], 1 << 20)
        self.assertGreaterEqual(own.descriptors(), 3)

    def test_a_process_that_has_ended_is_a_failure(self):
        gone = Process(0)
        for figure in (gone.resident, gone.seconds, gone.descriptors):
            with self.assertRaises(Failure):
                figure()


if __name__ == "__main__":
    unittest.main()
