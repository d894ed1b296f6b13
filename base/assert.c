#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *expression, const char *file, int line) {
    fprintf(stderr, "==> invariant broken: %s (%s:%d)\n", expression, file, line);
    abort();
}
