/* Metrics of the pools (contract 5.2, and a few of our own: refused packets, the guard). Brought up
 * to date once a second, from what the parts count. */
#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/mem.h"

enum counter {
    UDP_SENT,
    UDP_RECEIVED,
    TCP_ACCEPT,
    TCP_CONNECT,
    TCP_SENT,
    MSG_SUSPECT,
    MSG_DEAD,
    MSG_ALIVE,
    DROPPED,
    EVENTS,
    COUNTERS
};

static const struct {
    const char *name, *help;
} counters[COUNTERS] = {
    [UDP_SENT] = {"memberlist.udp.sent", "Bytes of packets sent."},
    [UDP_RECEIVED] = {"memberlist.udp.received", "Bytes of packets received."},
    [TCP_ACCEPT] = {"memberlist.tcp.accept", "Streams of others."},
    [TCP_CONNECT] = {"memberlist.tcp.connect", "Streams to others."},
    [TCP_SENT] = {"memberlist.tcp.sent", "Bytes of streams sent."},
    [MSG_SUSPECT] = {"memberlist.msg.suspect", "New suspicions heard."},
    [MSG_DEAD] = {"memberlist.msg.dead", "New deaths heard."},
    [MSG_ALIVE] = {"memberlist.msg.alive", "New members and refutations heard."},
    [DROPPED] = {"memberlist.dropped", "Messages that were malformed, foreign or not expected."},
    [EVENTS] = {"serf.events", "User events told to this member."},
};

static const char *const states[] = {"alive", "suspect", "dead", "left"};
#define STATES (sizeof states / sizeof states[0])

struct pool_metrics {
    struct metric *counters[COUNTERS];
    uint64_t counted[COUNTERS];
    struct metric *refused[SEAL_REFUSAL_COUNT + RPC_REFUSAL_COUNT];
    uint64_t refused_counted[SEAL_REFUSAL_COUNT + RPC_REFUSAL_COUNT];
    struct metric *queue;
    struct metric *states[STATES], *health, *guard, *frozen;
};

struct pool_metrics *pool_metrics_create(struct metrics *metrics, bool wan) {
    struct pool_metrics *to = mem_calloc(1, sizeof *to);
    struct str_pair labels[2] = {{"network", wan ? "wan" : "lan"}};
    for (int i = 0; i < COUNTERS; i++) {
        to->counters[i] =
            metrics_add(metrics, METRIC_COUNTER, counters[i].name, counters[i].help, labels, 1);
    }
    for (int i = 0; i < SEAL_REFUSAL_COUNT + RPC_REFUSAL_COUNT; i++) {
        bool packet = i < SEAL_REFUSAL_COUNT;
        labels[1] = (struct str_pair){
            "reason", packet ? seal_refusal_name((enum seal_refusal)i)
                             : rpc_refusal_name((enum rpc_refusal)(i - SEAL_REFUSAL_COUNT))};
        to->refused[i] =
            metrics_add(metrics, METRIC_COUNTER,
                        packet ? "memberlist.refused.packet" : "memberlist.refused.stream",
                        packet ? "Packets refused." : "Streams refused.", labels, 2);
    }
    for (size_t i = 0; i < STATES; i++) {
        labels[1] = (struct str_pair){"node_state", states[i]};
        to->states[i] = metrics_add(metrics, METRIC_GAUGE, "memberlist.node.instances",
                                    "Members in this state.", labels, 2);
    }
    to->queue = metrics_add(metrics, METRIC_SAMPLE, "serf.queue.Event",
                            "User events on their way to others.", labels, 1);
    to->health = metrics_add(metrics, METRIC_GAUGE, "memberlist.health.score",
                             "Own health: 0 is healthy.", labels, 1);
    to->guard = metrics_add(metrics, METRIC_GAUGE, "memberlist.mass_failure_guard",
                            "1: so many members seem dead that none is evicted.", labels, 1);
    to->frozen = metrics_add(metrics, METRIC_GAUGE, "memberlist.frozen",
                             "Members that the guard holds.", labels, 1);
    return to;
}

void pool_metrics_destroy(struct pool_metrics *metrics) {
    free(metrics);
}

static void count_to(struct metric *metric, uint64_t *counted, uint64_t total) {
    metric_count(metric, total - *counted);
    *counted = total;
}

void pool_metrics_update(struct pool_metrics *to, const struct pool_counts *from) {
    const struct gossip_status *status = &from->status;
    const uint64_t *counts = status->counters;
    uint64_t dropped = from->not_allowed + from->udp.too_large;
    for (int i = GOSSIP_DROPPED_TRUNCATED; i <= GOSSIP_DROPPED_COORDINATE; i++) {
        dropped += counts[i];
    }
    const uint64_t totals[COUNTERS] = {
        [UDP_SENT] = from->udp.sent_bytes,
        [UDP_RECEIVED] = from->udp.received_bytes,
        [TCP_ACCEPT] = from->rpc.accepted,
        [TCP_CONNECT] = from->rpc.connected,
        [TCP_SENT] = from->rpc.sent_bytes,
        [MSG_SUSPECT] = counts[GOSSIP_RUMOURS_SUSPECT],
        [MSG_DEAD] = counts[GOSSIP_RUMOURS_DEAD],
        [MSG_ALIVE] = counts[GOSSIP_RUMOURS_ALIVE],
        [DROPPED] = dropped,
        [EVENTS] = counts[GOSSIP_USER_EVENTS],
    };
    for (int i = 0; i < COUNTERS; i++) {
        count_to(to->counters[i], &to->counted[i], totals[i]);
    }
    for (int i = 0; i < SEAL_REFUSAL_COUNT + RPC_REFUSAL_COUNT; i++) {
        count_to(to->refused[i], &to->refused_counted[i],
                 i < SEAL_REFUSAL_COUNT ? from->refused[i]
                                        : from->rpc.refused[i - SEAL_REFUSAL_COUNT]);
    }
    const uint32_t members[STATES] = {status->alive, status->suspect, status->dead, status->left};
    for (size_t i = 0; i < STATES; i++) {
        metric_set(to->states[i], members[i]);
    }
    metric_sample(to->queue, status->user_events);
    metric_set(to->health, status->awareness);
    metric_set(to->guard, status->guard_on);
    metric_set(to->frozen, status->frozen);
}
