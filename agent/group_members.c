/* Who belongs to the group. On the leader: servers that the pool shows alive come in as learners
 * and vote once they hold the log and have been healthy for a while; those that left go; those that
 * failed go if the group stays large enough without them. One change at a time (Ongaro 4.1), tried
 * again until it is so.
 *
 * Nobody is removed unless most of the voters that remain are healthy. A failed server is removed
 * only while three voters or `min_quorum` remain, too, whichever is more: with fewer, a server that
 * comes back is worth more than a smaller majority. */
#include <stdio.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"

#define TICK_MS 100   /* while the leader has changes to make */
#define REST_MS 1000  /* for people who look */
#define SAFE_VOTERS 3 /* failures do not shrink the group below */
#define LEAVE_SILENCE_MS 500
#define LEAVE_MS 3000 /* a graceful end waits for its removal so long */

/* ---- what is so ---- */

static int64_t now_ms(const struct group *group) {
    return loop_now_ms(group->config.loop);
}

static const struct raft_server *find_server(const struct raft_configuration *configuration,
                                             const struct raft_id *id) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (raft_id_equal(&configuration->servers[i].id, id)) {
            return &configuration->servers[i];
        }
    }
    return NULL;
}

struct catalog_autopilot group_get_autopilot(const struct group *group) {
    const struct catalog_autopilot *set =
        view_get_autopilot(catalog_view(group->config.catalog)); /* of this thread's own making */
    return set->modify_index > 0 ? *set : group->config.autopilot;
}

static bool is_member(const struct group *group) {
    return find_server(raft_get_configuration(group->raft), &group->self) != NULL;
}

static bool is_alive(const struct group *group, const struct raft_id *id) {
    const struct peer *peer = group_find_peer(group, id);
    return raft_id_equal(id, &group->self) ||
           (peer != NULL && peer->server.state == GROUP_SERVER_ALIVE);
}

/* The leader counts on nobody who does not answer it, or who repairs its log and so does not vote,
 * whatever the pool says. */
static bool is_of_use(const struct group *group, const struct raft_id *id) {
    struct raft_peer_status status;
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        if (raft_get_peer(group->raft, i, &status) && raft_id_equal(&status.id, id)) {
            int64_t silent_ms = now_ms(group) - (int64_t)status.contact_at_ms;
            return !status.repairing && status.contact_at_ms > 0 &&
                   silent_ms < group_silence_ms(group);
        }
    }
    return true; /* itself; or another one leads, and knows */
}

struct voters {
    uint32_t all, healthy;
};

static struct voters count_voters(const struct group *group, const struct raft_id *without) {
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    struct voters voters = {0};
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_server *server = &configuration->servers[i];
        if (server->voter && !raft_id_equal(&server->id, without)) {
            voters.all++;
            voters.healthy += is_alive(group, &server->id) && is_of_use(group, &server->id);
        }
    }
    return voters;
}

/* The others are a group that can go on. */
static bool quorum_without(const struct group *group, const struct raft_id *id) {
    struct voters voters = count_voters(group, id);
    return voters.all > 0 && voters.healthy > voters.all / 2;
}

/* The same machine with another disk: the old one is lost. */
static bool has_new_disk(const struct group *group, const struct raft_id *id) {
    for (uint32_t i = 0; i < group->peer_count; i++) {
        const struct group_server *server = &group->peers[i]->server;
        if (server->state == GROUP_SERVER_ALIVE &&
            memcmp(&server->id.node, &id->node, sizeof id->node) == 0 &&
            !raft_id_equal(&server->id, id)) {
            return true;
        }
    }
    return false;
}

static bool may_remove(const struct group *group, const struct raft_server *server) {
    const struct peer *peer = group_find_peer(group, &server->id);
    if (raft_id_equal(&server->id, &group->self) || !quorum_without(group, &server->id)) {
        return false;
    }
    if ((peer != NULL && peer->server.state == GROUP_SERVER_LEFT) ||
        has_new_disk(group, &server->id)) {
        return true;
    }
    struct catalog_autopilot autopilot = group_get_autopilot(group);
    if (peer == NULL || peer->server.state == GROUP_SERVER_ALIVE ||
        !autopilot.cleanup_dead_servers) {
        return false;
    }
    uint32_t least = autopilot.min_quorum > SAFE_VOTERS ? autopilot.min_quorum : SAFE_VOTERS;
    return !server->voter || count_voters(group, &server->id).all >= least;
}

static bool is_stable(const struct group *group, const struct peer *peer) {
    static const struct raft_id nobody = {0};
    return peer->alive_since_ms > 0 &&
           (count_voters(group, &nobody).all < SAFE_VOTERS ||
            now_ms(group) - peer->alive_since_ms >=
                group_get_autopilot(group).stabilization_ns / DURATION_MS);
}

/* ---- changes ---- */

static bool change(struct group *group, enum raft_change_kind kind, struct raft_id id,
                   const char *what) {
    struct err_text text;
    enum err err = group_change(group, kind, &id, &text);
    if (err == ERR_OK) {
        const struct peer *peer = group_find_peer(group, &id);
        char node[UUID_TEXT_BYTES];
        uuid_format(&id.node, node);
        log_write(group->config.log, LOG_INFO, MODULE, "%s: server=%s id=%s", what,
                  peer != NULL ? peer->server.name : "", node);
    }
    return err == ERR_OK;
}

/* One change; false: nothing is to be done, or it must wait. */
static bool improve(struct group *group) {
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_server *server = &configuration->servers[i];
        if (may_remove(group, server)) {
            return change(group, RAFT_CHANGE_REMOVE, server->id, "removing server");
        }
        const struct peer *peer = group_find_peer(group, &server->id);
        if (!server->voter && peer != NULL && !peer->server.learner && is_stable(group, peer) &&
            change(group, RAFT_CHANGE_PROMOTE, server->id, "promoting server to voter")) {
            return true;
        }
    }
    for (uint32_t i = 0; i < group->peer_count; i++) {
        const struct group_server *server = &group->peers[i]->server;
        if (server->state == GROUP_SERVER_ALIVE &&
            find_server(configuration, &server->id) == NULL) {
            return change(group, RAFT_CHANGE_ADD_LEARNER, server->id, "adding server");
        }
    }
    return false;
}

/* Whether the configuration is what the pool makes desirable. */
static bool is_settled(const struct group *group) {
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    for (uint32_t i = 0; i < group->peer_count; i++) {
        const struct group_server *server = &group->peers[i]->server;
        const struct raft_server *member = find_server(configuration, &server->id);
        if (server->state == GROUP_SERVER_ALIVE
                ? member == NULL || (!member->voter && !server->learner)
                : member != NULL) {
            return false;
        }
    }
    return true;
}

enum err group_change(struct group *group, enum raft_change_kind kind, const struct raft_id *id,
                      struct err_text *text) {
    struct raft_event event = {.kind = RAFT_EVENT_CHANGE, .change = {.kind = kind, .id = *id}};
    enum err err = group_step(group, &event);
    switch (err) {
    case ERR_OK:
        break;
    case ERR_NO_LEADER:
        err_set(text, err, "node is not the leader");
        break;
    case ERR_OVERLOADED:
        err_set(text, err, "another change of the group is under way");
        break;
    case ERR_NOT_FOUND:
        err_set(text, err, "there is no such server in the group");
        break;
    default:
        err_set(text, err, "the group cannot be changed so: %s", err_name(err));
    }
    return err;
}

enum err group_transfer(struct group *group, const struct raft_id *id, struct err_text *text) {
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER, .transfer = {.any = id == NULL}};
    if (id != NULL) {
        event.transfer.to = *id;
    }
    enum err err = group_step(group, &event);
    if (err != ERR_OK) {
        err_set(text, err, "cannot transfer leadership: %s",
                err == ERR_NO_LEADER    ? "node is not the leader"
                : err == ERR_OVERLOADED ? "a transfer is under way"
                                        : "there is no such voter");
    }
    return err;
}

/* ---- for people ---- */

static void describe(const struct group *group, const struct raft_server *server,
                     struct group_peer_status *to) {
    const struct peer *peer = group_find_peer(group, &server->id);
    *to = (struct group_peer_status){.id = server->id, .voter = server->voter};
    to->self = raft_id_equal(&server->id, &group->self);
    to->leader = group->leader_known && raft_id_equal(&server->id, &group->leader);
    if (to->self) {
        to->known = true;
        snprintf(to->name, sizeof to->name, "%s", group->config.name);
        if (group->config.addr != NULL) {
            to->addr = *group->config.addr;
        }
        to->match = group->status.last_index;
        to->match_term = group->status.last_term;
    } else if (peer != NULL) {
        to->known = true;
        snprintf(to->name, sizeof to->name, "%s", peer->server.name);
        to->addr = peer->server.addr;
        to->state = peer->server.state;
        to->stable_since_ms = peer->alive_since_ms;
    }
    struct raft_peer_status status;
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        if (raft_get_peer(group->raft, i, &status) && raft_id_equal(&status.id, &server->id)) {
            to->match = status.match;
            to->match_term = raft_get_term(group->raft, status.match);
            to->contact_at_ms = (int64_t)status.contact_at_ms;
        }
    }
}

void group_refresh_peers(struct group *group) {
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    pthread_mutex_lock(&group->status_mutex);
    group->member_count = configuration->count;
    for (uint32_t i = 0; i < configuration->count; i++) {
        describe(group, &configuration->servers[i], &group->members[i]);
    }
    pthread_mutex_unlock(&group->status_mutex);
}

uint32_t group_get_peers(const struct group *group,
                         struct group_peer_status ret_peers[LIMIT_RAFT_SERVERS]) {
    struct group *writable = (struct group *)(uintptr_t)group;
    pthread_mutex_lock(&writable->status_mutex);
    uint32_t count = group->member_count;
    memcpy(ret_peers, group->members, count * sizeof *ret_peers);
    pthread_mutex_unlock(&writable->status_mutex);
    return count;
}

/* ---- the clock ---- */

/* Who is removed is told no more: that the next leader is silent says so too. */
static bool leave_is_over(const struct group *group) {
    bool out = !is_member(group) || group_contact_ms(group) > LEAVE_SILENCE_MS;
    return (out && group->role != RAFT_LEADER) || now_ms(group) >= group->leave_until_ms;
}

static void sample_contacts(struct group *group) {
    struct raft_peer_status status;
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        if (raft_get_peer(group->raft, i, &status) && status.contact_at_ms > 0) {
            metric_sample(group->metrics.last_contact,
                          (double)(now_ms(group) - (int64_t)status.contact_at_ms));
        }
    }
}

static void tick(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, members_timer);
    bool busy = group->leave_until_ms > 0;
    if (group->closing) {
        return;
    }
    if (group_leads(group) && group->storage != NULL) {
        busy = improve(group) || !is_settled(group) || busy;
    }
    if (group_leads(group)) {
        sample_contacts(group);
    }
    group_refresh_peers(group);
    if (group->leave_until_ms > 0 && leave_is_over(group)) {
        group->leave_until_ms = 0;
        group->left(group->left_context);
    }
    loop_timer_start(group->config.loop, timer, now_ms(group) + (busy ? TICK_MS : REST_MS));
}

void group_members_note(struct group *group) {
    group->members_timer.run = tick;
    if (!group->closing) {
        loop_timer_start(group->config.loop, &group->members_timer, now_ms(group));
    }
}

void group_members_clear(struct group *group) {
    loop_timer_stop(group->config.loop, &group->members_timer);
}

void group_leave(struct group *group, void (*left)(void *context), void *context) {
    struct err_text text;
    group->left = left;
    group->left_context = context;
    group->leave_until_ms = now_ms(group) + LEAVE_MS;
    if (!quorum_without(group, &group->self)) {
        group->leave_until_ms = now_ms(group); /* nobody could remove it */
    } else if (group->role == RAFT_LEADER && group_transfer(group, NULL, &text) != ERR_OK) {
        log_write(group->config.log, LOG_WARN, MODULE, "%s", text.s);
    }
    group_members_note(group);
}
