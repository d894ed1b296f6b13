/* What operators see of the group (contract 17.1, 17.2): servers, and what autopilot thinks of
 * them. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/internal.h"
#include "agent/operator.h"
#include "base/duration.h"

/* ---- the judgement ---- */

struct verdict {
    const struct group_peer_status *peer;
    char id[UUID_TEXT_BYTES], address[ADDR_TEXT_BYTES];
    int64_t contact_ms; /* -1: not heard since this leader began */
    bool healthy;
};

struct report {
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    struct verdict servers[LIMIT_RAFT_SERVERS]; /* by id */
    uint32_t count, voters, healthy_voters;
    bool healthy;
    const char *leader; /* its id; "" = none */
};

static int compare(const void *a, const void *b) {
    return strcmp(((const struct verdict *)a)->id, ((const struct verdict *)b)->id);
}

static bool is_healthy(const struct verdict *verdict, const struct group_status *status,
                       const struct catalog_autopilot *autopilot) {
    const struct group_peer_status *peer = verdict->peer;
    uint64_t trailing = status->last_index > peer->match ? status->last_index - peer->match : 0;
    return peer->known && (peer->self || peer->state == GROUP_SERVER_ALIVE) &&
           verdict->contact_ms >= 0 &&
           verdict->contact_ms * DURATION_MS <= autopilot->last_contact_ns &&
           (peer->match_term == status->last_term || trailing > 0) &&
           trailing <= autopilot->max_trailing_logs;
}

/* Only the leader knows how far the others are. */
static void judge(struct agent *agent, struct report *report) {
    struct catalog_autopilot autopilot = group_get_autopilot(agent->group);
    struct group_status status;
    int64_t now_ms = loop_now_ms(agent->loop);
    group_refresh_peers(agent->group);
    group_get_status(agent->group, &status);
    report->count = group_get_peers(agent->group, report->peers);
    report->voters = report->healthy_voters = 0;
    report->healthy = report->count > 0;
    report->leader = "";
    for (uint32_t i = 0; i < report->count; i++) {
        const struct group_peer_status *peer = &report->peers[i];
        struct verdict *verdict = &report->servers[i];
        *verdict = (struct verdict){.peer = peer};
        uuid_format(&peer->id.node, verdict->id);
        if (peer->addr.any.sa_family != 0) {
            addr_format(&peer->addr, verdict->address);
        }
        verdict->contact_ms = peer->self                 ? 0
                              : peer->contact_at_ms <= 0 ? -1
                                                         : now_ms - peer->contact_at_ms;
        verdict->healthy = is_healthy(verdict, &status, &autopilot);
        report->healthy = report->healthy && verdict->healthy;
        report->voters += peer->voter;
        report->healthy_voters += peer->voter && verdict->healthy;
    }
    qsort(report->servers, report->count, sizeof report->servers[0], compare);
    for (uint32_t i = 0; i < report->count; i++) {
        if (report->servers[i].peer->leader) {
            report->leader = report->servers[i].id;
        }
    }
}

static uint64_t tolerance(const struct report *report) {
    uint32_t quorum = report->voters / 2 + 1;
    return report->healthy_voters > quorum ? report->healthy_voters - quorum : 0;
}

void operator_judge(struct agent *agent, bool *ret_healthy, uint64_t *ret_tolerance) {
    struct report report;
    judge(agent, &report);
    *ret_healthy = report.healthy;
    *ret_tolerance = tolerance(&report);
}

/* ---- as JSON ---- */

static const char *state_name(const struct group_peer_status *peer) {
    static const char *const names[] = {[GROUP_SERVER_ALIVE] = "alive",
                                        [GROUP_SERVER_FAILED] = "failed",
                                        [GROUP_SERVER_LEFT] = "left"};
    return peer->known ? names[peer->state] : "none";
}

static void put_contact(struct json *json, int64_t contact_ms) {
    char text[DURATION_TEXT_BYTES];
    duration_format(contact_ms >= 0 ? contact_ms * DURATION_MS : 0, text);
    json_member_str(json, "LastContact", contact_ms >= 0 ? text : "never");
}

static void put_stable_since(struct json *json, const struct agent *agent,
                             const struct group_peer_status *peer) {
    char text[32] = "";
    struct tm tm;
    int64_t since_ms = peer->self ? agent->started_at_ms : peer->stable_since_ms;
    int64_t ago_ms = since_ms > 0 ? loop_now_ms(agent->loop) - since_ms : 0;
    time_t seconds = (time_t)((clock_wall_ms() - ago_ms) / 1000);
    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    json_member_str(json, "StableSince", text);
}

static const char *version_of(const struct agent *agent, const struct group_peer_status *peer) {
    const struct backend_pool *pool = agent->backend.lan; /* of this thread's own making */
    for (uint32_t i = 0; pool != NULL && i < pool->count; i++) {
        if (strcmp(pool->members[i].name, peer->name) == 0) {
            const struct str_map *tags = &pool->members[i].tags;
            for (uint32_t k = 0; k < tags->count; k++) {
                if (strcmp(tags->v[k].key, "build") == 0) {
                    return tags->v[k].value;
                }
            }
        }
    }
    return "";
}

static void put_progress(struct json *json, const struct verdict *verdict) {
    put_contact(json, verdict->contact_ms);
    json_member_u64(json, "LastTerm", verdict->peer->match_term);
    json_member_u64(json, "LastIndex", verdict->peer->match);
    json_member_bool(json, "Healthy", verdict->healthy);
}

static void show_raft(struct agent *agent, struct json *json) {
    struct report report;
    struct group_status status;
    judge(agent, &report);
    group_get_status(agent->group, &status);
    json_object_begin(json);
    json_key(json, "Servers");
    json_array_begin(json);
    for (uint32_t i = 0; i < report.count; i++) {
        const struct verdict *verdict = &report.servers[i];
        json_object_begin(json);
        json_member_str(json, "ID", verdict->id);
        json_member_str(json, "Node",
                        verdict->peer->name[0] != '\0' ? verdict->peer->name : "(unknown)");
        json_member_str(json, "Address", verdict->address);
        json_member_bool(json, "Leader", verdict->peer->leader);
        json_member_str(json, "ProtocolVersion", "3");
        json_member_bool(json, "Voter", verdict->peer->voter);
        json_member_u64(json, "LastIndex", verdict->peer->match);
        json_object_end(json);
    }
    json_array_end(json);
    json_member_u64(json, "Index", status.configuration_index);
    json_object_end(json);
}

static void member_duration(struct json *json, const char *key, int64_t ns) {
    char text[DURATION_TEXT_BYTES];
    duration_format(ns, text);
    json_member_str(json, key, text);
}

static void show_autopilot(struct agent *agent, struct json *json) {
    struct catalog_autopilot autopilot = group_get_autopilot(agent->group);
    json_object_begin(json);
    json_member_bool(json, "CleanupDeadServers", autopilot.cleanup_dead_servers);
    member_duration(json, "LastContactThreshold", autopilot.last_contact_ns);
    json_member_u64(json, "MaxTrailingLogs", autopilot.max_trailing_logs);
    json_member_u64(json, "MinQuorum", autopilot.min_quorum);
    member_duration(json, "ServerStabilizationTime", autopilot.stabilization_ns);
    json_member_str(json, "RedundancyZoneTag", "");
    json_member_bool(json, "DisableUpgradeMigration", false);
    json_member_str(json, "UpgradeVersionTag", "");
    json_member_u64(json, "CreateIndex", autopilot.create_index);
    json_member_u64(json, "ModifyIndex", autopilot.modify_index);
    json_object_end(json);
}

static void put_report(struct json *json, const struct report *report) {
    json_member_bool(json, "Healthy", report->healthy);
    json_member_u64(json, "FailureTolerance", tolerance(report));
}

static void show_health(struct agent *agent, struct json *json) {
    struct report report;
    judge(agent, &report);
    json_object_begin(json);
    put_report(json, &report);
    json_key(json, "Servers");
    json_array_begin(json);
    for (uint32_t i = 0; i < report.count; i++) {
        const struct verdict *verdict = &report.servers[i];
        json_object_begin(json);
        json_member_str(json, "ID", verdict->id);
        json_member_str(json, "Name", verdict->peer->name);
        json_member_str(json, "Address", verdict->address);
        json_member_str(json, "SerfStatus", state_name(verdict->peer));
        json_member_str(json, "Version", version_of(agent, verdict->peer));
        json_member_bool(json, "Leader", verdict->peer->leader);
        put_progress(json, verdict);
        json_member_bool(json, "Voter", verdict->peer->voter);
        put_stable_since(json, agent, verdict->peer);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
}

static void put_state_server(struct agent *agent, struct json *json,
                             const struct verdict *verdict) {
    const struct group_peer_status *peer = verdict->peer;
    json_key(json, verdict->id);
    json_object_begin(json);
    json_member_str(json, "ID", verdict->id);
    json_member_str(json, "Name", peer->name);
    json_member_str(json, "Address", verdict->address);
    json_member_str(json, "NodeStatus", state_name(peer));
    json_member_str(json, "Version", version_of(agent, peer));
    put_progress(json, verdict);
    put_stable_since(json, agent, peer);
    json_member_bool(json, "ReadReplica", false);
    json_member_str(json, "Status", peer->leader ? "leader" : peer->voter ? "voter" : "non-voter");
    const struct catalog_node *node =
        view_get_node_by_id(catalog_view(agent->catalog), verdict->id);
    static const struct str_map none = {0};
    json_member_map(json, "Meta", node != NULL ? &node->meta : &none);
    json_member_str(json, "NodeType", "voter");
    json_object_end(json);
}

static void show_state(struct agent *agent, struct json *json) {
    struct report report;
    judge(agent, &report);
    json_object_begin(json);
    put_report(json, &report);
    json_member_u64(json, "OptimisticFailureTolerance", tolerance(&report));
    json_key(json, "Servers");
    json_object_begin(json);
    for (uint32_t i = 0; i < report.count; i++) {
        put_state_server(agent, json, &report.servers[i]);
    }
    json_object_end(json);
    json_member_str(json, "Leader", report.leader);
    json_key(json, "Voters");
    json_array_begin(json);
    for (uint32_t i = 0; i < report.count; i++) {
        if (report.servers[i].peer->voter) {
            json_str(json, report.servers[i].id);
        }
    }
    json_array_end(json);
    json_object_end(json);
}

void operator_show(struct agent *agent, enum backend_operator_action action, struct json *json) {
    switch (action) {
    case BACKEND_SHOW_RAFT:
        show_raft(agent, json);
        break;
    case BACKEND_SHOW_AUTOPILOT:
        show_autopilot(agent, json);
        break;
    case BACKEND_SHOW_HEALTH:
        show_health(agent, json);
        break;
    case BACKEND_SHOW_STATE:
        show_state(agent, json);
        break;
    case BACKEND_REMOVE_SERVER:
    case BACKEND_TRANSFER_LEADER:
        break;
    }
}
