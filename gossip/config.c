/* The timers of a pool, and the names of things. */
#include <string.h>

#include "base/assert.h"
#include "gossip/internal.h"

/* A member that is cut off is known dead to all of 30 within 3.5 s; see docs/TESTING.md for what
 * these timers do. */
struct gossip_config gossip_config_lan(void) {
    return (struct gossip_config){
        .pool = "lan",
        .probe_interval_ms = 500,
        .probe_timeout_ms = 180,
        .indirect_probes = 3,
        .stream_ping = true,
        .gossip_interval_ms = 200,
        .gossip_fanout = 3,
        .gossip_to_dead_ms = 30 * 1000,
        .retransmit_multiplier = 4,
        .suspicion_multiplier = 3,
        .suspicion_max_multiplier = 4,
        .suspicion_confirmations = 3,
        .closed_suspicion_ms = 400,
        .awareness_max = 8,
        .isolated_ms = 30 * 1000,
        .sync_interval_ms = 30 * 1000,
        .rumours_before_sync = 100,
        .stream_timeout_ms = 10 * 1000,
        .leave_propagate_ms = 3000,
        .reap_dead_ms = UINT64_C(72) * 3600 * 1000,
        .reap_left_ms = UINT64_C(24) * 3600 * 1000,
        .guard_members_min = 10,
        .guard_percent = 30,
        .guard_window_ms = 60 * 1000,
        .packet_bytes_max = 1350,
        .coordinates = true,
        .lifeguard = true,
    };
}

struct gossip_config gossip_config_wan(void) {
    struct gossip_config config = gossip_config_lan();
    config.pool = "wan";
    config.probe_interval_ms = 2000;
    config.probe_timeout_ms = 900;
    config.gossip_interval_ms = 400;
    config.suspicion_multiplier = 4;
    config.closed_suspicion_ms = 2000;
    config.sync_interval_ms = 60 * 1000;
    config.stream_timeout_ms = 30 * 1000;
    config.keep_coordinates = true;
    return config;
}

struct range {
    const char *name;
    uint64_t value, low, high;
};

enum err gossip_config_check(const struct gossip_config *config, struct err_text *text) {
    const uint64_t day = UINT64_C(24) * 3600 * 1000;
    const struct range ranges[] = {
        {"probe_interval", config->probe_interval_ms, 10, day},
        {"probe_timeout", config->probe_timeout_ms, 1, day},
        {"indirect_probes", config->indirect_probes, 0, 8},
        {"gossip_interval", config->gossip_interval_ms, 1, day},
        {"gossip_nodes", config->gossip_fanout, 1, 16},
        {"retransmit_mult", config->retransmit_multiplier, 1, 16},
        {"suspicion_mult", config->suspicion_multiplier, 1, 1000},
        {"suspicion_max_mult", config->suspicion_max_multiplier, 1, 100},
        {"suspicion_confirmations", config->suspicion_confirmations, 0, LIMIT_GOSSIP_ACCUSERS - 1},
        {"closed_suspicion", config->closed_suspicion_ms, 1, day},
        {"awareness_max", config->awareness_max, 0, 64},
        {"isolated", config->isolated_ms, 0, day},
        {"sync_interval", config->sync_interval_ms, 10, day},
        {"rumours_before_sync", config->rumours_before_sync, 1, UINT32_MAX},
        {"stream_timeout", config->stream_timeout_ms, 1, day},
        {"leave_propagate", config->leave_propagate_ms, 0, day},
        {"reap_dead", config->reap_dead_ms, 1000, 365 * day},
        {"reap_left", config->reap_left_ms, 1000, 365 * day},
        {"guard_percent", config->guard_percent, 0, 100},
        {"guard_window", config->guard_window_ms, 0, day},
        {"packet_bytes", config->packet_bytes_max, LIMIT_GOSSIP_PACKET_BYTES_MIN,
         LIMIT_GOSSIP_PACKET_BYTES},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *range = &ranges[i];
        if (range->value < range->low || range->value > range->high) {
            return err_set(text, ERR_INVALID, "%s: must be between %llu and %llu, not %llu",
                           range->name, (unsigned long long)range->low,
                           (unsigned long long)range->high, (unsigned long long)range->value);
        }
    }
    if (config->probe_timeout_ms > config->probe_interval_ms) {
        return err_set(text, ERR_INVALID, "probe_timeout: must not be above probe_interval");
    }
    if (config->pool == NULL || config->pool[0] == '\0') {
        return err_set(text, ERR_INVALID, "the pool has no name");
    }
    return ERR_OK;
}

const char *gossip_state_name(enum gossip_state state) {
    static const char *const names[] = {"alive", "suspect", "dead", "left", "removed"};
    ASSERT(state <= GOSSIP_REMOVED);
    return names[state];
}

const char *gossip_change_name(enum gossip_change_kind kind) {
    static const char *const names[] = {
        "joined",  "updated",   "suspect",     "alive",      "failed",   "left",
        "reaped",  "frozen",    "name-clash",  "id-clash",   "guard-on", "guard-off",
        "refuted", "join-done", "join-failed", "leave-done", "event"};
    ASSERT((size_t)kind < sizeof names / sizeof names[0]);
    return names[kind];
}

const char *gossip_counter_name(enum gossip_counter counter) {
    static const char *const names[GOSSIP_COUNTERS] = {
        [GOSSIP_PACKETS_SENT] = "packets_sent",
        [GOSSIP_BYTES_SENT] = "bytes_sent",
        [GOSSIP_PACKETS_RECEIVED] = "packets_received",
        [GOSSIP_BYTES_RECEIVED] = "bytes_received",
        [GOSSIP_STREAM_BYTES_SENT] = "stream_bytes_sent",
        [GOSSIP_STREAM_BYTES_RECEIVED] = "stream_bytes_received",
        [GOSSIP_PROBES] = "probes",
        [GOSSIP_PROBES_FAILED] = "probes_failed",
        [GOSSIP_PROBES_INDIRECT] = "probes_indirect",
        [GOSSIP_PROBES_BY_STREAM] = "probes_by_stream",
        [GOSSIP_RUMOURS_ALIVE] = "rumours_alive",
        [GOSSIP_RUMOURS_SUSPECT] = "rumours_suspect",
        [GOSSIP_RUMOURS_DEAD] = "rumours_dead",
        [GOSSIP_RUMOURS_LEFT] = "rumours_left",
        [GOSSIP_RUMOURS_STALE] = "rumours_stale",
        [GOSSIP_REFUTED] = "refuted",
        [GOSSIP_CORRECTED] = "corrected",
        [GOSSIP_PROBES_ISOLATED] = "probes_isolated",
        [GOSSIP_STALLS] = "stalls",
        [GOSSIP_SYNCS] = "syncs",
        [GOSSIP_SYNCS_EQUAL] = "syncs_equal",
        [GOSSIP_SYNCS_FAILED] = "syncs_failed",
        [GOSSIP_EVICTED] = "evicted",
        [GOSSIP_FROZEN] = "frozen",
        [GOSSIP_USER_EVENTS] = "user_events",
        [GOSSIP_USER_EVENTS_KNOWN] = "user_events_known",
        [GOSSIP_USER_EVENTS_OLD] = "user_events_old",
        [GOSSIP_DROPPED_TRUNCATED] = "dropped_truncated",
        [GOSSIP_DROPPED_MALFORMED] = "dropped_malformed",
        [GOSSIP_DROPPED_VERSION] = "dropped_version",
        [GOSSIP_DROPPED_FOREIGN] = "dropped_foreign",
        [GOSSIP_DROPPED_OVERSIZE] = "dropped_oversize",
        [GOSSIP_DROPPED_MISDIRECTED] = "dropped_misdirected",
        [GOSSIP_DROPPED_UNEXPECTED] = "dropped_unexpected",
        [GOSSIP_DROPPED_MEMBER] = "dropped_member",
        [GOSSIP_DROPPED_INCOMPATIBLE] = "dropped_incompatible",
        [GOSSIP_DROPPED_FULL] = "dropped_full",
        [GOSSIP_DROPPED_FUTURE] = "dropped_future",
        [GOSSIP_DROPPED_COORDINATE] = "dropped_coordinate",
        [GOSSIP_SECTIONS_UNKNOWN] = "sections_unknown",
    };
    ASSERT(counter < GOSSIP_COUNTERS && names[counter] != NULL);
    return names[counter];
}
