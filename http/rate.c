#include "http/rate.h"

#define SECOND_NS 1000000000.0
#define AT_ONCE_NS (10 * SECOND_NS)

bool http_rate_take(struct http_rate *rate, uint64_t now_ns) {
    if (rate->per_second < 0) {
        return true;
    }
    if (rate->per_second * AT_ONCE_NS < SECOND_NS) { /* not one in ten seconds */
        return false;
    }
    uint64_t each_ns = (uint64_t)(SECOND_NS / rate->per_second);
    uint64_t until_ns = atomic_load_explicit(&rate->used_up_ns, memory_order_relaxed);
    uint64_t next_ns;
    do {
        next_ns = (until_ns > now_ns ? until_ns : now_ns) + each_ns;
        if (next_ns - now_ns > (uint64_t)AT_ONCE_NS) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&rate->used_up_ns, &until_ns, next_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}
