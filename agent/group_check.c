/* Whether all servers of the group have the same rows, which equal logs should give. Memory that
 * flipped a bit, or an apply that is not deterministic after all, would else be served for ever.
 *
 * Each server keeps the sum over its rows at every LIMIT_CHECK_ENTRIES-th entry. Once a second the
 * leader asks the others for theirs, compares at the newest index that both have, and decides:
 *
 *   - one that differs while most voters have what the leader has is told so. It makes sure, and
 *     fences itself: it applies nothing, answers no default or consistent read, takes no snapshot
 *     and does not lead, until its rows are replaced by the leader's (group_heal.c). It goes on
 *     to vote and to acknowledge entries: the log is in order, only what was made of it is not.
 *     Stale reads and DNS still get what there is, as they do without a leader.
 *   - when most voters have one and the same other sum, it is the leader that is wrong. It fences
 *     itself and steps down; the next leader tells it, and it is healed.
 *   - while there is no such majority (two servers; some are down) nothing happens for
 *     LIMIT_CHECK_PATIENCE rounds; then the leader's rows count.
 *
 * Sums are of one level: raised when rows are summed up in another way, or when an entry makes
 * other rows than it did in an earlier version. Those of different levels are not compared. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/container.h"
#include "base/mem.h"

#define LEVEL 1
#define REQUEST_MS 2000
#define BODY_BYTES_MAX 1024

enum verdict { VERDICT_UNKNOWN, VERDICT_SAME, VERDICT_DIFFERS };

/* Another server, asked. */
struct ask {
    struct rpc_request request;
    struct check *check;
    struct raft_id id;
    bool busy;
    enum verdict verdict;
    struct group_sample theirs; /* that was compared */
};

struct check {
    struct group *group;
    struct group_sample samples[LIMIT_CHECK_SAMPLES]; /* a ring */
    uint32_t next, count;
    struct group_sample asked_at; /* the leader's own, when it asked */
    struct ask asks[LIMIT_RAFT_SERVERS];
    unsigned undecided; /* rounds */
    struct loop_timer timer;
};

/* ---- sums ---- */

static struct group_sample present(const struct group *group) {
    return (struct group_sample){group->applied, catalog_hash(group->config.catalog)};
}

void group_check_applied(struct group *group, uint64_t index) {
    struct check *check = group->check;
    if (index % LIMIT_CHECK_ENTRIES == 0) {
        check->samples[check->next] = present(group);
        check->next = (check->next + 1) % LIMIT_CHECK_SAMPLES;
        check->count += check->count < LIMIT_CHECK_SAMPLES;
    }
}

void group_check_reset(struct group *group) {
    group->check->count = 0;
}

/* i: 0 is the newest. */
static const struct group_sample *get_sample(const struct check *check, uint32_t i) {
    return &check->samples[(check->next + LIMIT_CHECK_SAMPLES - 1 - i) % LIMIT_CHECK_SAMPLES];
}

/* This server's sum at the index; false: it has none. */
static bool find_sample(const struct check *check, uint64_t index, struct group_sample *ret) {
    const struct group *group = check->group;
    if (!group->entry_begun && index == group->applied) {
        *ret = present(group);
        return true;
    }
    if (index == check->asked_at.index) {
        *ret = check->asked_at;
        return true;
    }
    for (uint32_t i = 0; i < check->count; i++) {
        if (get_sample(check, i)->index == index) {
            *ret = *get_sample(check, i);
            return true;
        }
    }
    return false;
}

/* ---- what is decided ---- */

static void fence(struct group *group, uint64_t index) {
    log_write(group->config.log, LOG_ERROR, MODULE,
              "this server's rows are not those of most servers: it answers no reads but stale "
              "ones and does not lead until they are replaced: index=%" PRIu64,
              index);
    metric_count(group->metrics.diverged, 1);
    group->fenced = true;
    struct raft_event event = {.kind = RAFT_EVENT_MAY_LEAD, .may_lead = {.may = false}};
    group_step(group, &event);
    group_heal_start(group);
}

static void told(struct rpc_request *request, enum err err, const struct err_text *text,
                 const uint8_t *body, size_t size) {
    (void)err;
    (void)text;
    (void)body;
    (void)size;
    CONTAINER_OF(request, struct ask, request)->busy = false;
}

static void tell(struct ask *ask) {
    struct group *group = ask->check->group;
    struct group_sample own;
    struct buf body;
    struct rpc_connection *connection = group_connection(group, &ask->id);
    const struct peer *peer = group_find_peer(group, &ask->id);
    if (connection == NULL || ask->busy || !find_sample(ask->check, ask->theirs.index, &own)) {
        return;
    }
    log_write(group->config.log, LOG_ERROR, MODULE,
              "the rows of a server are not those of most servers: server=%s index=%" PRIu64,
              peer->server.name, own.index);
    ask->verdict = VERDICT_UNKNOWN; /* until it is asked again */
    const struct group_wire_check check = {.level = LEVEL, .diverged = true, .sample = own};
    buf_init(&body, BODY_BYTES_MAX);
    group_wire_pack_check(&check, &body);
    ask->request.done = told;
    ask->busy = rpc_request(connection, &ask->request, RPC_METHOD_CHECK, body.data, body.count,
                            REQUEST_MS) == ERR_OK;
    buf_clear(&body);
}

/* Of the voters, with the leader itself among `same`. */
struct tally {
    uint32_t voters, same, unknown;
    uint32_t against; /* the most that differ with one sum */
    uint64_t index;   /* of that sum */
    bool differs;     /* anybody, learners too */
};

static struct ask *find_ask(struct check *check, const struct raft_id *id) {
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        if (raft_id_equal(&check->asks[i].id, id)) {
            return &check->asks[i];
        }
    }
    return NULL;
}

static uint32_t count_equal(struct check *check, const struct raft_configuration *configuration,
                            const struct group_sample *theirs) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct ask *ask = find_ask(check, &configuration->servers[i].id);
        count += configuration->servers[i].voter && ask != NULL &&
                 ask->verdict == VERDICT_DIFFERS && ask->theirs.index == theirs->index &&
                 ask->theirs.hash == theirs->hash;
    }
    return count;
}

static struct tally count_votes(struct check *check) {
    struct group *group = check->group;
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    struct tally tally = {0};
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_server *server = &configuration->servers[i];
        const struct ask *ask = find_ask(check, &server->id);
        enum verdict verdict = raft_id_equal(&server->id, &group->self) ? VERDICT_SAME
                               : ask != NULL                            ? ask->verdict
                                                                        : VERDICT_UNKNOWN;
        tally.differs |= verdict == VERDICT_DIFFERS;
        if (server->voter) {
            tally.voters++;
            tally.same += verdict == VERDICT_SAME;
            tally.unknown += verdict == VERDICT_UNKNOWN;
            uint32_t against =
                verdict == VERDICT_DIFFERS ? count_equal(check, configuration, &ask->theirs) : 0;
            if (against > tally.against) {
                tally.against = against;
                tally.index = ask->theirs.index;
            }
        }
    }
    return tally;
}

static void judge(struct check *check) {
    struct tally tally = count_votes(check);
    if (!tally.differs) {
        check->undecided = 0;
        return;
    }
    if (tally.against > tally.voters / 2) {
        fence(check->group, tally.index);
        return;
    }
    if (tally.same <= tally.voters / 2 && check->undecided++ < LIMIT_CHECK_PATIENCE) {
        return;
    }
    check->undecided = 0;
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        if (check->asks[i].verdict == VERDICT_DIFFERS) {
            tell(&check->asks[i]);
        }
    }
}

/* ---- the leader's questions ---- */

static void compare(struct ask *ask, const struct group_wire_samples *theirs) {
    struct group_sample own;
    for (uint32_t i = theirs->level == LEVEL ? theirs->count : 0; i > 0; i--) {
        if (find_sample(ask->check, theirs->v[i - 1].index, &own)) {
            ask->theirs = theirs->v[i - 1];
            ask->verdict = own.hash == ask->theirs.hash ? VERDICT_SAME : VERDICT_DIFFERS;
            return;
        }
    }
}

static void answered(struct rpc_request *request, enum err err, const struct err_text *text,
                     const uint8_t *body, size_t size) {
    struct ask *ask = CONTAINER_OF(request, struct ask, request);
    struct group_wire_samples theirs;
    (void)text;
    ask->busy = false;
    if (err == ERR_OK && group_wire_unpack_samples(body, size, &theirs)) {
        compare(ask, &theirs);
    }
}

/* The server's place: its own, one of a server that is gone, or a new one. */
static struct ask *place(struct check *check, const struct raft_id *id) {
    const struct raft_configuration *configuration = raft_get_configuration(check->group->raft);
    struct ask *ask = find_ask(check, id);
    for (uint32_t i = 0; ask == NULL && i < LIMIT_RAFT_SERVERS; i++) {
        bool used = check->asks[i].busy;
        for (uint32_t k = 0; k < configuration->count && !used; k++) {
            used = raft_id_equal(&configuration->servers[k].id, &check->asks[i].id);
        }
        ask = used ? NULL : &check->asks[i];
    }
    if (ask != NULL) {
        ask->check = check;
        ask->id = *id;
        ask->verdict = ask->busy ? ask->verdict : VERDICT_UNKNOWN;
    }
    return ask;
}

static void ask_all(struct check *check) {
    struct group *group = check->group;
    const struct raft_configuration *configuration = raft_get_configuration(group->raft);
    const struct group_wire_check question = {.level = LEVEL};
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    group_wire_pack_check(&question, &body);
    check->asked_at = group->entry_begun ? (struct group_sample){0} : present(group);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_id *id = &configuration->servers[i].id;
        struct rpc_connection *connection = group_connection(group, id);
        struct ask *ask =
            connection != NULL && !raft_id_equal(id, &group->self) ? place(check, id) : NULL;
        if (ask != NULL && !ask->busy) {
            ask->request.done = answered;
            ask->busy = rpc_request(connection, &ask->request, RPC_METHOD_CHECK, body.data,
                                    body.count, REQUEST_MS) == ERR_OK;
        }
    }
    buf_clear(&body);
}

static void tick(struct loop_timer *timer) {
    struct check *check = CONTAINER_OF(timer, struct check, timer);
    struct group *group = check->group;
    if (group->closing) {
        return;
    }
    if (group_leads(group) && !group->fenced) {
        judge(check); /* the answers to the round before */
    }
    if (group_leads(group) && !group->fenced) {
        ask_all(check);
    } else {
        for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
            check->asks[i].verdict = VERDICT_UNKNOWN;
        }
        check->undecided = 0;
    }
    loop_timer_start(group->config.loop, timer,
                     loop_now_ms(group->config.loop) + LIMIT_CHECK_PERIOD_MS);
}

/* ---- the others' answers ---- */

static void answer(struct group *group, struct rpc_ticket ticket) {
    const struct check *check = group->check;
    struct group_wire_samples told = {.level = LEVEL};
    struct buf body;
    uint32_t kept = check->count < GROUP_SAMPLES_TOLD ? check->count : GROUP_SAMPLES_TOLD - 1;
    for (uint32_t i = group->fenced ? 0 : kept; i > 0; i--) { /* it knows that it has diverged */
        told.v[told.count++] = *get_sample(check, i - 1);
    }
    if (!group->fenced && !group->entry_begun) {
        told.v[told.count++] = present(group);
    }
    buf_init(&body, BODY_BYTES_MAX);
    group_wire_pack_samples(&told, &body);
    rpc_answer(group->rpc, ticket, ERR_OK, NULL, body.data, body.count);
    buf_clear(&body);
}

static void on_check(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                     const uint8_t *body, size_t size) {
    static const struct err_text stranger = {"only the leader may ask that"};
    struct group *group = context;
    const struct rpc_identity *identity = rpc_peer(from);
    struct raft_id sender = {.node = identity->node, .disk = identity->disk};
    struct group_wire_check check;
    struct group_sample own;
    if (!group_wire_unpack_check(body, size, &check) || group->closing ||
        !group_is_ours(group, identity) || !group->leader_known ||
        !raft_id_equal(&group->leader, &sender)) {
        rpc_answer(group->rpc, ticket, ERR_REFUSED, &stranger, NULL, 0);
    } else if (!check.diverged) {
        answer(group, ticket);
    } else {
        rpc_answer(group->rpc, ticket, ERR_OK, NULL, NULL, 0);
        if (!group->fenced && check.level == LEVEL &&
            find_sample(group->check, check.sample.index, &own) && own.hash != check.sample.hash) {
            fence(group, check.sample.index);
        }
    }
}

/* ---- life ---- */

void group_check_init(struct group *group) {
    group->check = mem_calloc(1, sizeof *group->check);
    group->check->group = group;
    group->check->timer.run = tick;
}

void group_check_serve(struct group *group) {
    static const struct rpc_service service = {.request = on_check};
    rpc_serve(group->rpc, RPC_METHOD_CHECK, &service, group);
    loop_timer_start(group->config.loop, &group->check->timer,
                     loop_now_ms(group->config.loop) + LIMIT_CHECK_PERIOD_MS);
}

void group_check_clear(struct group *group) {
    loop_timer_stop(group->config.loop, &group->check->timer);
    for (uint32_t i = 0; i < LIMIT_RAFT_SERVERS; i++) {
        rpc_request_cancel(&group->check->asks[i].request);
    }
    free(group->check);
    group->check = NULL;
}
