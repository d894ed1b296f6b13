/* Invariants, checked in release builds too. Never for what the world can cause. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

_Noreturn void assert_fail(const char *expression, const char *file, int line);

#define ASSERT(expression)                                                                         \
    (__builtin_expect(!!(expression), 1) ? (void)0 : assert_fail(#expression, __FILE__, __LINE__))

#endif
