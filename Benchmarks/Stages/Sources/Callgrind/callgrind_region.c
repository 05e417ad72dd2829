#include "callgrind_region.h"

// The requests are a few instructions that do nothing outside of valgrind. Its headers come with it.
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>

int callgrind_region_is_available(void) { return RUNNING_ON_VALGRIND != 0; }

void callgrind_region_start(void) { CALLGRIND_START_INSTRUMENTATION; }

void callgrind_region_stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }

#else

int callgrind_region_is_available(void) { return 0; }

void callgrind_region_start(void) {}

void callgrind_region_stop(void) {}

#endif
