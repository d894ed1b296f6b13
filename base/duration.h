/* Durations in Go's text form ("300ms", "1.5h", "2h45m"), as the HTTP API and the configuration use
 * them. All values are nanoseconds. */
#ifndef BASE_DURATION_H
#define BASE_DURATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DURATION_MS INT64_C(1000000)
#define DURATION_S INT64_C(1000000000)
#define DURATION_TEXT_BYTES 32

/* Grammar: [-+]?(<decimal><unit>)+ or 0; units ns us µs ms s m h. ERR_INVALID: the text reads as
 * Go's own: time: invalid duration "x", time: missing unit in duration "10", ... */
enum err duration_parse(const char *s, int64_t *ret_ns, struct err_text *text);
/* As Go's Duration.String(): 0s, 500ms, 1m30s, 1h0m0s, 1.5s, 200µs. */
void duration_format(int64_t ns, char out[DURATION_TEXT_BYTES]);

#endif
