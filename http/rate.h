/* Limits of requests a second (contract 1.7): one for reads of the catalog and of keys, one for
 * what goes through the log. Ten seconds' worth may come at once. */
#ifndef HTTP_RATE_H
#define HTTP_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum http_rate_mode {
    HTTP_RATE_OFF,
    HTTP_RATE_PERMISSIVE, /* only logged */
    HTTP_RATE_ENFORCING
};

struct http_rate {
    double per_second;           /* below 0: no limit */
    _Atomic uint64_t used_up_ns; /* all that was let in would take until then at this rate */
};

/* Any thread. False: one too many. */
bool http_rate_take(struct http_rate *rate, uint64_t now_ns);

#endif
