/* How timers grow with the pool and shrink with evidence. Integers only: the same seed gives the
 * same run on every machine. */
#include "base/assert.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define LOG2_OF_10 217706 /* log2(10) * 65536 */

uint32_t log2_fixed(uint32_t x) {
    ASSERT(x >= 1);
    uint32_t whole = 31 - (uint32_t)__builtin_clz(x);
    uint64_t mantissa = ((uint64_t)x << 32) >> whole; /* [1, 2) * 2^32 */
    uint32_t fraction = 0;
    for (int bit = 15; bit >= 0; bit--) {
        mantissa = (uint64_t)(((__uint128_t)mantissa * mantissa) >> 32);
        if (mantissa >> 33 != 0) {
            mantissa >>= 1;
            fraction |= 1u << bit;
        }
    }
    return whole << 16 | fraction;
}

uint32_t digits10(uint32_t x) {
    uint32_t digits = 0;
    for (uint64_t power = 1; power <= x; power *= 10) {
        digits++;
    }
    return digits;
}

uint64_t suspicion_min_ms(const struct gossip_config *config, uint32_t members) {
    uint64_t base = (uint64_t)config->suspicion_multiplier * config->probe_interval_ms;
    if (members <= 10) {
        return base;
    }
    return base * log2_fixed(members) / LOG2_OF_10;
}

uint64_t suspicion_timeout_ms(const struct gossip_config *config, uint32_t members,
                              uint32_t confirmations) {
    uint64_t low = suspicion_min_ms(config, members);
    uint32_t wanted = config->suspicion_confirmations;
    /* In a small pool there is nobody else to confirm. */
    if (!config->lifeguard || wanted == 0 || members < wanted + 2) {
        return low;
    }
    uint64_t high = low * config->suspicion_max_multiplier;
    if (confirmations >= wanted && !MUTANT(suspicion_never_shrinks)) {
        return low;
    }
    if (MUTANT(suspicion_never_shrinks)) {
        confirmations = 0;
    }
    return high - (high - low) * log2_fixed(confirmations + 1) / log2_fixed(wanted + 1);
}

uint64_t sync_interval_ms(const struct gossip_config *config, uint32_t members) {
    if (members <= 32) {
        return config->sync_interval_ms;
    }
    return ((uint64_t)config->sync_interval_ms * (log2_fixed(members) - (4u << 16))) >> 16;
}
