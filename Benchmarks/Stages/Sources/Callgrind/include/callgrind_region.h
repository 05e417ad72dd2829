#ifndef CALLGRIND_REGION_H
#define CALLGRIND_REGION_H

// The part of a program whose instructions callgrind counts, of all its threads. Without valgrind nothing happens.

/// Whether the program runs in valgrind.
int callgrind_region_is_available(void);

/// Counts from now on. The program must have been started with --instr-atstart=no.
void callgrind_region_start(void);

/// Counts no longer.
void callgrind_region_stop(void);

#endif
