#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdint.h>

// Counts allocations of the whole process between start and stop: malloc, calloc, realloc, posix_memalign and
// aligned_alloc. For programs of the test suite only; linking it replaces these functions.

/// Sets the count to zero and counts from now on.
void allocation_counter_start(void);

/// Counts no longer.
///
/// \returns allocations since `allocation_counter_start`.
uint64_t allocation_counter_stop(void);

/// Whether an allocation while counting ends the program with SIGTRAP, so that a debugger shows where it came from.
void allocation_counter_trap(int enabled);

#endif
