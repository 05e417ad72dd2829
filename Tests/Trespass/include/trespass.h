#pragma once

/// fork(2), which Swift doesn't import.
int trespass_fork(void);
/// Tries what its name says: 0 if that succeeded, errno if it was refused, -1 if there is no such attempt.
/// `argument` is a path, a port or a number, as the attempt needs it.
int trespass_attempt(const char *name, const char *argument);
