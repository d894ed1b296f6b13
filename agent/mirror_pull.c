#include "agent/mirror_pull.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/squeeze.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "base/rand.h"
#include "base/str.h"
#include "proto/rpc.pb-c.h"

#define MODULE "agent.mirror"
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 2000
#define TOO_LARGE_MS 60000
#define NEVER INT64_MIN
#define EMPTY_LOOKS 64 /* names that one lookup compares */

/* One request under way. */
struct ask {
    struct mirror_pull *pull;
    bool busy, far;
    uint8_t *body;
    int64_t sent_at_ms;
    struct links_request links;
    struct rpc_request rpc;
};

/* A part that has come. */
struct part {
    struct part *next;
    int64_t sent_at_ms; /* of its request */
    size_t size;
    uint8_t body[];
};

struct retired {
    struct retired *next;
    struct mirror *mirror;
};

struct name_list {
    char **v;
    uint32_t count, capacity;
};

struct mirror_pull {
    struct mirror_pull_config config;
    char *datacenter, *shown;
    bool near;
    _Atomic(struct mirror *) live; /* NULL: never whole */
    struct mirror *staging;        /* NULL: parts go into the live one */
    struct mirror
        *fresh;          /* by names: takes what is wanted before anything has come; then staging */
    struct uuid cluster; /* of the live one */
    struct uuid staging_cluster;
    int64_t staging_as_of_ms; /* as it will be, once it is whole */
    bool scratch;             /* the live one is broken */
    uint32_t number; /* of the stream: no other of this agent's has it on the same connection */
    bool opened;     /* its first request is under way or answered */
    struct name_list add, remove; /* to be told with the next request */
    uint32_t *looked_up;          /* hashes of names; NULL: none yet */
    uint32_t empty_place;         /* of mirror_find_empty */
    struct ask asks[LIMIT_MIRROR_CREDIT];
    struct part *parts, **parts_last;
    uint32_t part_count;
    struct loop_timer apply_timer;
    bool closing;
    struct loop_timer timer; /* to begin again; to free some of what is retired */
    struct loop_timer silence_timer;
    int64_t retry_ms, retry_at_ms; /* retry_at_ms 0: it runs */
    struct retired *retired;
    struct loop_timer retired_timer;
    struct rand rand;
    bool told_lost; /* that the stream is broken */
    _Atomic int64_t as_of_ms;
    struct {
        _Atomic uint64_t parts, bytes, packed_bytes, begun, broken, index, instances, row_bytes;
    } counts;
};

static int64_t now_ms(const struct mirror_pull *pull) {
    return loop_now_ms(pull->config.loop);
}

static void send_all(struct mirror_pull *pull);

/* ---- names that are to be told ---- */

static void put_name(struct name_list *list, const char *name) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        list->v = mem_realloc(list->v, list->capacity * sizeof *list->v);
    }
    list->v[list->count++] = mem_strdup(name);
}

static void clear_names(struct name_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        free(list->v[i]);
    }
    free(list->v);
    *list = (struct name_list){0};
}

/* ---- the end of mirrors that were replaced ---- */

static void free_retired(struct loop_timer *timer) {
    struct mirror_pull *pull = CONTAINER_OF(timer, struct mirror_pull, retired_timer);
    struct retired *first = pull->retired;
    bool waits = pull->config.in_use != NULL &&
                 pull->config.in_use(pull->config.context, mirror_catalog(first->mirror));
    if (!waits && !mirror_destroy_some(first->mirror)) {
        pull->retired = first->next;
        free(first);
    }
    if (pull->retired != NULL) {
        loop_timer_start(pull->config.loop, timer, now_ms(pull) + (waits ? 20 : 1));
    }
}

/* Nothing published leads there any more. */
static void retire(struct mirror_pull *pull, struct mirror *mirror) {
    if (mirror == NULL) {
        return;
    }
    struct retired *retired = mem_alloc(sizeof *retired);
    *retired = (struct retired){.next = pull->retired, .mirror = mirror};
    pull->retired = retired;
    loop_timer_start(pull->config.loop, &pull->retired_timer, now_ms(pull) + 1);
}

/* ---- the stream breaks ---- */

static void drop_parts(struct mirror_pull *pull) {
    while (pull->parts != NULL) {
        struct part *part = pull->parts;
        pull->parts = part->next;
        free(part);
    }
    pull->parts_last = &pull->parts;
    pull->part_count = 0;
}

static void cancel_all(struct mirror_pull *pull) {
    struct rpc_connection *unused;
    for (uint32_t i = 0; i < LIMIT_MIRROR_CREDIT; i++) {
        struct ask *ask = &pull->asks[i];
        if (ask->busy && ask->far) {
            links_cancel(&ask->links, &unused);
        } else if (ask->busy) {
            rpc_request_cancel(&ask->rpc);
        }
        ask->busy = false;
        free(ask->body);
        ask->body = NULL;
    }
}

/* What has come so far of a mirror from scratch is of no use without the rest. */
static void end_stream(struct mirror_pull *pull) {
    cancel_all(pull);
    drop_parts(pull);
    loop_timer_stop(pull->config.loop, &pull->silence_timer);
    loop_timer_stop(pull->config.loop, &pull->apply_timer);
    retire(pull, pull->staging);
    pull->staging = NULL;
    pull->opened = false;
    clear_names(&pull->add);
    clear_names(&pull->remove);
}

static void begin_at(struct mirror_pull *pull, int64_t at_ms) {
    if (!pull->closing) {
        pull->retry_at_ms = at_ms;
        loop_timer_start(pull->config.loop, &pull->timer, at_ms);
    }
}

static void break_stream(struct mirror_pull *pull, const char *why, int64_t least_ms) {
    end_stream(pull);
    atomic_fetch_add_explicit(&pull->counts.broken, 1, memory_order_relaxed);
    if (!pull->told_lost) {
        pull->told_lost = true;
        log_write(pull->config.log, atomic_load(&pull->live) != NULL ? LOG_WARN : LOG_DEBUG, MODULE,
                  "the stream of rows is broken: datacenter=%s error=\"%s\"", pull->shown, why);
    }
    pull->retry_ms = pull->retry_ms == 0 ? RETRY_MIN_MS : 2 * pull->retry_ms;
    pull->retry_ms = pull->retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : pull->retry_ms;
    int64_t wait_ms = pull->retry_ms > least_ms ? pull->retry_ms : least_ms;
    begin_at(pull,
             now_ms(pull) + wait_ms / 2 + (int64_t)rand_below(&pull->rand, (uint64_t)wait_ms));
}

static void begin_again(struct loop_timer *timer) {
    struct mirror_pull *pull = CONTAINER_OF(timer, struct mirror_pull, timer);
    pull->retry_at_ms = 0;
    send_all(pull);
}

static void silent(struct loop_timer *timer) {
    struct mirror_pull *pull = CONTAINER_OF(timer, struct mirror_pull, silence_timer);
    break_stream(pull, "nothing was heard of its source", 0);
}

static void hear(struct mirror_pull *pull) {
    loop_timer_start(pull->config.loop, &pull->silence_timer,
                     now_ms(pull) + LIMIT_MIRROR_SILENCE_MS);
}

/* ---- parts ---- */

static void count_rows(struct mirror_pull *pull) {
    const struct mirror *mirror = atomic_load(&pull->live);
    if (mirror != NULL) {
        atomic_store_explicit(&pull->counts.index, mirror_index(mirror), memory_order_relaxed);
        atomic_store_explicit(&pull->counts.instances, mirror_instances(mirror),
                              memory_order_relaxed);
        atomic_store_explicit(&pull->counts.row_bytes, mirror_bytes(mirror), memory_order_relaxed);
    }
}

static struct mirror *new_mirror(struct mirror_pull *pull) {
    struct mirror *mirror = mirror_create(pull->config.epoch, pull->config.all);
    if (pull->config.mirrored) {
        mirror_note_changes(mirror, LIMIT_MIRROR_CHANGES_BYTES);
    }
    return mirror;
}

/* What is wanted by now is wanted of the new one. */
static void copy_names(struct mirror_pull *pull, const struct mirror *from, struct mirror *to) {
    const char **names = mem_alloc(LIMIT_MIRROR_NAMES * sizeof *names);
    uint32_t count = from != NULL ? mirror_list_names(from, names, LIMIT_MIRROR_NAMES) : 0;
    for (uint32_t i = 0; i < count && i < LIMIT_MIRROR_NAMES; i++) {
        mirror_want(to, names[i], now_ms(pull));
    }
    free(names);
}

static struct mirror *target(const struct mirror_pull *pull) {
    return pull->staging != NULL ? pull->staging : atomic_load(&pull->live);
}

static void begin_scratch(struct mirror_pull *pull) {
    struct mirror *staging = new_mirror(pull);
    copy_names(pull, target(pull) != NULL ? target(pull) : pull->fresh, staging);
    retire(pull, pull->staging);
    pull->staging = staging;
    atomic_fetch_add_explicit(&pull->counts.begun, 1, memory_order_relaxed);
}

static void swap(struct mirror_pull *pull) {
    struct mirror *old = atomic_load(&pull->live);
    mirror_set_whole(pull->staging);
    atomic_store(&pull->live, pull->staging);
    pull->staging = NULL;
    pull->cluster = pull->staging_cluster;
    atomic_store(&pull->as_of_ms, pull->staging_as_of_ms);
    pull->scratch = false;
    retire(pull, old);
    retire(pull, pull->fresh);
    pull->fresh = NULL;
    log_write(pull->config.log, LOG_INFO, MODULE,
              "rows are mirrored: datacenter=%s index=%llu instances=%zu", pull->shown,
              (unsigned long long)mirror_index(target(pull)), mirror_instances(target(pull)));
}

static bool apply_rows(struct mirror_pull *pull, const Pb__RpcMirrorBatch *batch) {
    struct mirror *mirror = target(pull);
    uint64_t index = batch->whole ? batch->index : 0;
    if (batch->size == 0) {
        mirror_advance(mirror, index);
        return true;
    }
    if (batch->size > LIMIT_MIRROR_BATCH_BYTES) {
        return false;
    }
    mirror_reach(mirror, batch->newest);
    uint8_t *rows = mem_alloc(batch->size);
    bool good = unsqueeze(batch->records.data, batch->records.len, rows, batch->size) &&
                mirror_apply(mirror, rows, batch->size, index) == ERR_OK;
    free(rows);
    return good;
}

/* A mirror that is too large is not worth its memory. */
static bool fits(struct mirror_pull *pull) {
    struct mirror *mirror = target(pull);
    if (!pull->config.all || mirror_bytes(mirror) <= pull->config.bytes_max) {
        return true;
    }
    log_write(pull->config.log, LOG_ERROR, MODULE,
              "the rows take more than mirror.max_bytes, they are not mirrored: datacenter=%s",
              pull->shown);
    if (mirror != pull->staging) {
        atomic_store(&pull->live, NULL);
        retire(pull, mirror);
    }
    return false;
}

static int64_t as_of(const Pb__RpcMirrorBatch *batch, int64_t sent_at_ms) {
    int64_t lag_ms = batch->lag_ms < INT32_MAX ? (int64_t)batch->lag_ms : INT32_MAX;
    return (MUTANT(age_from_arrival) ? clock_monotonic_ms() : sent_at_ms + batch->held_ms) -
           (MUTANT(lag_forgotten) ? 0 : lag_ms);
}

/* The first part of a mirror from scratch. False: its source knows less than is known here, as one
 * does that lags behind its leader. */
static bool begin_anew(struct mirror_pull *pull, const Pb__RpcMirrorBatch *batch,
                       int64_t as_of_ms) {
    bool good = atomic_load(&pull->live) != NULL && !pull->scratch;
    if (good && as_of_ms < atomic_load(&pull->as_of_ms)) {
        return false;
    }
    begin_scratch(pull);
    memcpy(pull->staging_cluster.bytes, batch->cluster.data, sizeof pull->cluster.bytes);
    pull->staging_as_of_ms = as_of_ms;
    return true;
}

static void take_batch(struct mirror_pull *pull, const Pb__RpcMirrorBatch *batch,
                       int64_t sent_at_ms) {
    if (batch->cluster.len != sizeof pull->cluster.bytes) {
        break_stream(pull, "a part without a cluster id", 0);
        return;
    }
    int64_t as_of_ms = as_of(batch, sent_at_ms);
    if (batch->begins && !begin_anew(pull, batch, as_of_ms)) {
        break_stream(pull, "its source knows less than is known here", 0);
        return;
    }
    if (target(pull) == NULL || !apply_rows(pull, batch)) {
        pull->scratch = true;
        break_stream(pull, "a part that cannot be read", 0);
        return;
    }
    if (!fits(pull)) {
        break_stream(pull, "too many rows", TOO_LARGE_MS);
        return;
    }
    if ((batch->whole || MUTANT(swapped_early)) && pull->staging != NULL) {
        swap(pull);
    }
    if (batch->current && pull->staging == NULL && as_of_ms > atomic_load(&pull->as_of_ms)) {
        atomic_store(&pull->as_of_ms, as_of_ms);
    }
    pull->retry_ms = 0;
    if (pull->told_lost && pull->staging == NULL) {
        pull->told_lost = false;
        log_write(pull->config.log, LOG_INFO, MODULE, "the stream of rows goes on: datacenter=%s",
                  pull->shown);
    }
    atomic_fetch_add_explicit(&pull->counts.bytes, batch->size, memory_order_relaxed);
    count_rows(pull);
    if (batch->size > 0 && pull->staging == NULL && pull->config.published != NULL) {
        pull->config.published(pull->config.context);
    }
}

/* One a turn. */
static void apply_one(struct loop_timer *timer) {
    struct mirror_pull *pull = CONTAINER_OF(timer, struct mirror_pull, apply_timer);
    struct part *part = pull->parts;
    pull->parts = part->next;
    pull->parts_last = pull->parts != NULL ? pull->parts_last : &pull->parts;
    pull->part_count--;
    Pb__RpcMirrorBatch *batch = pb__rpc_mirror_batch__unpack(NULL, part->size, part->body);
    if (batch == NULL) {
        break_stream(pull, "a part that cannot be read", 0);
    } else {
        take_batch(pull, batch, part->sent_at_ms);
        pb__rpc_mirror_batch__free_unpacked(batch, NULL);
    }
    free(part);
    send_all(pull);
    if (pull->parts != NULL) {
        loop_timer_start(pull->config.loop, timer, now_ms(pull));
    }
}

static void put_part(struct mirror_pull *pull, int64_t sent_at_ms, const uint8_t *body,
                     size_t size) {
    struct part *part = mem_alloc(sizeof *part + size);
    *part = (struct part){.sent_at_ms = sent_at_ms, .size = size};
    memcpy(part->body, body, size);
    *pull->parts_last = part;
    pull->parts_last = &part->next;
    pull->part_count++;
    atomic_fetch_add_explicit(&pull->counts.parts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pull->counts.packed_bytes, size, memory_order_relaxed);
    loop_timer_start(pull->config.loop, &pull->apply_timer, now_ms(pull));
}

/* ---- requests ---- */

static void answered(struct ask *ask, enum err err, const struct err_text *text,
                     const uint8_t *body, size_t size) {
    struct mirror_pull *pull = ask->pull;
    ask->busy = false;
    free(ask->body);
    ask->body = NULL;
    if (pull->closing) {
        return;
    }
    if (err != ERR_OK) {
        break_stream(pull, text != NULL && text->s[0] != '\0' ? text->s : err_name(err), 0);
        return;
    }
    hear(pull);
    put_part(pull, ask->sent_at_ms, body, size);
}

static void far_answered(struct links_request *request, enum err err, const struct err_text *text,
                         const uint8_t *body, size_t size) {
    answered(CONTAINER_OF(request, struct ask, links), err, text, body, size);
}

static void near_answered(struct rpc_request *request, enum err err, const struct err_text *text,
                          const uint8_t *body, size_t size) {
    answered(CONTAINER_OF(request, struct ask, rpc), err, text, body, size);
}

/* Names that the live mirror has whole go on with it, the others are told anew. */
static void sort_names(struct mirror_pull *pull, bool resumes, struct name_list *have) {
    const struct mirror *mirror = atomic_load(&pull->live);
    const char **names = mem_alloc(LIMIT_MIRROR_NAMES * sizeof *names);
    mirror = mirror != NULL ? mirror : pull->fresh;
    uint32_t count = mirror != NULL ? mirror_list_names(mirror, names, LIMIT_MIRROR_NAMES) : 0;
    clear_names(&pull->add);
    clear_names(&pull->remove);
    for (uint32_t i = 0; i < count && i < LIMIT_MIRROR_NAMES; i++) {
        put_name(resumes && mirror_is_ready(mirror, names[i]) ? have : &pull->add, names[i]);
    }
    free(names);
}

static uint8_t *write_request(struct mirror_pull *pull, size_t *ret_size) {
    Pb__RpcMirror message = PB__RPC_MIRROR__INIT;
    struct name_list have = {0};
    const struct mirror *live = atomic_load(&pull->live);
    if (!pull->opened) {
        bool resumes = live != NULL && !pull->scratch;
        pull->number += MUTANT(streams_share_numbers) ? 1 : LIMIT_MIRRORS;
        message.open = true;
        message.all = pull->config.all;
        message.datacenter = pull->near ? pull->datacenter : message.datacenter;
        if (resumes) {
            message.cluster = (ProtobufCBinaryData){16, pull->cluster.bytes};
            message.index = mirror_index(live);
        }
        if (!pull->config.all) {
            sort_names(pull, resumes, &have);
        }
        pull->opened = true;
    }
    message.stream = pull->number;
    message.have = have.v;
    message.n_have = have.count;
    message.add = pull->add.v;
    message.n_add = pull->add.count;
    message.remove = pull->remove.v;
    message.n_remove = pull->remove.count;
    *ret_size = pb__rpc_mirror__get_packed_size(&message);
    uint8_t *body = mem_alloc(*ret_size + 1);
    pb__rpc_mirror__pack(&message, body);
    clear_names(&have);
    clear_names(&pull->add);
    clear_names(&pull->remove);
    return body;
}

static bool send_one(struct mirror_pull *pull, struct ask *ask) {
    struct rpc_connection *connection = pull->near ? pull->config.near(pull->config.context) : NULL;
    if (pull->near && connection == NULL) {
        break_stream(pull, "no leader", 0);
        return false;
    }
    size_t size;
    ask->body = write_request(pull, &size);
    ask->sent_at_ms = now_ms(pull);
    ask->far = !pull->near;
    ask->busy = true;
    if (ask->far) {
        ask->links =
            (struct links_request){.datacenter = pull->datacenter,
                                   .method = RPC_METHOD_MIRROR,
                                   .body = ask->body,
                                   .size = size,
                                   .patient = true,
                                   .answer_ms = 2 * LIMIT_MIRROR_CREDIT * LIMIT_MIRROR_BEAT_MS,
                                   .done = far_answered};
        links_ask(pull->config.links, &ask->links);
        return ask->busy || pull->retry_at_ms == 0;
    }
    ask->rpc = (struct rpc_request){.done = near_answered};
    if (rpc_request(connection, &ask->rpc, RPC_METHOD_MIRROR, ask->body, size,
                    LIMIT_MIRROR_SILENCE_MS + 2 * LIMIT_MIRROR_CREDIT * LIMIT_MIRROR_BEAT_MS) !=
        ERR_OK) {
        ask->busy = false;
        break_stream(pull, "the leader cannot be asked", 0);
        return false;
    }
    return true;
}

/* Each part that waits to be applied holds a place. */
static void send_all(struct mirror_pull *pull) {
    uint32_t busy = pull->part_count;
    if (pull->closing || pull->retry_at_ms > 0) {
        return;
    }
    if (!pull->opened) {
        hear(pull);
    }
    for (uint32_t i = 0; i < LIMIT_MIRROR_CREDIT; i++) {
        busy += pull->asks[i].busy;
    }
    for (uint32_t i = 0; i < LIMIT_MIRROR_CREDIT && busy < LIMIT_MIRROR_CREDIT; i++) {
        if (!pull->asks[i].busy) {
            busy++;
            if (!send_one(pull, &pull->asks[i])) {
                return;
            }
        }
    }
}

/* ---- life ---- */

struct mirror_pull *mirror_pull_create(const struct mirror_pull_config *config) {
    struct mirror_pull *pull = mem_calloc(1, sizeof *pull);
    pull->config = *config;
    pull->datacenter = mem_strdup(config->datacenter);
    pull->shown = mem_strdup(config->shown);
    ASSERT(config->place < LIMIT_MIRRORS);
    pull->number = MUTANT(streams_share_numbers) ? 0 : config->place;
    pull->parts_last = &pull->parts;
    pull->apply_timer.run = apply_one;
    pull->timer.run = begin_again;
    pull->silence_timer.run = silent;
    pull->retired_timer.run = free_retired;
    pull->retry_at_ms = 1; /* until it is told from where */
    rand_init(&pull->rand, config->seed);
    atomic_init(&pull->as_of_ms, NEVER);
    for (uint32_t i = 0; i < LIMIT_MIRROR_CREDIT; i++) {
        pull->asks[i].pull = pull;
    }
    return pull;
}

void mirror_pull_destroy(struct mirror_pull *pull) {
    if (pull == NULL) {
        return;
    }
    pull->closing = true;
    end_stream(pull);
    loop_timer_stop(pull->config.loop, &pull->timer);
    loop_timer_stop(pull->config.loop, &pull->retired_timer);
    while (pull->retired != NULL) {
        struct retired *first = pull->retired;
        pull->retired = first->next;
        mirror_destroy(first->mirror);
        free(first);
    }
    mirror_destroy(atomic_load(&pull->live));
    mirror_destroy(pull->fresh);
    free(pull->looked_up);
    free(pull->datacenter);
    free(pull->shown);
    free(pull);
}

void mirror_pull_go_by(struct mirror_pull *pull, bool near) {
    end_stream(pull);
    pull->near = near;
    pull->retry_ms = 0;
    begin_at(pull, now_ms(pull) + 1);
}

/* ---- names ---- */

/* One that is not told yet is only forgotten. */
static void put_remove(struct mirror_pull *pull, const char *service) {
    for (uint32_t i = 0; i < pull->add.count; i++) {
        if (strcasecmp(pull->add.v[i], service) == 0) {
            free(pull->add.v[i]);
            pull->add.v[i--] = pull->add.v[--pull->add.count];
        }
    }
    put_name(&pull->remove, service);
}

static void drop_name(struct mirror_pull *pull, struct mirror *known, const char *service) {
    char *copy = mem_strdup(service);
    mirror_drop(known, copy);
    if (pull->staging != NULL) {
        mirror_drop(pull->staging, copy);
    }
    if (pull->opened) {
        put_remove(pull, copy);
    }
    free(copy);
}

/* Notes it. One of two names that share a place is forgotten. */
static bool was_looked_up(struct mirror_pull *pull, const char *service) {
    char lowered[LIMIT_NAME_BYTES + 1];
    str_lower(lowered, sizeof lowered, service);
    uint64_t hash = hash_bytes(pull->config.seed, lowered, strlen(lowered));
    if (pull->looked_up == NULL) {
        pull->looked_up = mem_calloc(LIMIT_MIRROR_LOOKED_UP, sizeof *pull->looked_up);
    }
    uint32_t *place = &pull->looked_up[hash % LIMIT_MIRROR_LOOKED_UP];
    bool was = *place == (uint32_t)(hash >> 32);
    *place = (uint32_t)(hash >> 32);
    return was;
}

/* Whoever looks up names that nobody has must not keep out those that somebody has: once half of
 * the places are taken a name has to be looked up twice, and once all are, one without an instance
 * goes for it. */
static bool find_room(struct mirror_pull *pull, struct mirror *known, const char *service) {
    uint32_t count = mirror_list_names(known, NULL, 0);
    if (count < LIMIT_MIRROR_NAMES_FREE) {
        return true;
    }
    if (!was_looked_up(pull, service)) {
        return false;
    }
    const char *empty = count < LIMIT_MIRROR_NAMES
                            ? NULL
                            : mirror_find_empty(known, &pull->empty_place, EMPTY_LOOKS);
    if (empty != NULL) {
        drop_name(pull, known, empty);
    }
    return count < LIMIT_MIRROR_NAMES || empty != NULL;
}

void mirror_pull_want(struct mirror_pull *pull, const char *service) {
    struct mirror *live = atomic_load(&pull->live);
    if (live == NULL && pull->fresh == NULL) {
        pull->fresh = new_mirror(pull);
    }
    struct mirror *known = live != NULL ? live : pull->fresh;
    if (mirror_wants(known, service) || !find_room(pull, known, service)) {
        return;
    }
    mirror_want(known, service, now_ms(pull));
    if (pull->staging != NULL) {
        mirror_want(pull->staging, service, now_ms(pull));
    }
    if (pull->opened) {
        put_name(&pull->add, service);
    }
    send_all(pull);
}

/* Any thread. -1: it never was whole. */
static int64_t get_age_ms(const struct mirror_pull *pull) {
    int64_t as_of_ms = atomic_load(&pull->as_of_ms);
    if (as_of_ms == NEVER) {
        return -1;
    }
    int64_t age_ms = clock_monotonic_ms() - as_of_ms;
    return age_ms > 0 ? age_ms : 0;
}

bool mirror_pull_is_old(const struct mirror_pull *pull) {
    return get_age_ms(pull) > LIMIT_MIRROR_FRESH_MS;
}

void mirror_pull_evict(struct mirror_pull *pull, int64_t unused_since_ms) {
    struct mirror *live = atomic_load(&pull->live);
    struct mirror *known = live != NULL ? live : pull->fresh;
    const char *service;
    int64_t used_at_ms;
    unused_since_ms = mirror_pull_is_old(pull) ? INT64_MIN : unused_since_ms;
    while (known != NULL && (service = mirror_longest_unused(known, &used_at_ms)) != NULL &&
           (used_at_ms < unused_since_ms || mirror_bytes(known) > pull->config.bytes_max)) {
        drop_name(pull, known, service);
    }
    count_rows(pull);
}

struct mirror *mirror_pull_mirror(const struct mirror_pull *pull) {
    return atomic_load(&pull->live);
}

bool mirror_pull_cluster(const struct mirror_pull *pull, struct uuid *ret_cluster) {
    *ret_cluster = pull->cluster;
    return atomic_load(&pull->live) != NULL;
}

/* ---- any thread ---- */

static bool look(const struct mirror_pull *pull, const struct mirror *mirror,
                 struct mirror_face *ret_face) {
    int64_t age_ms = get_age_ms(pull);
    if (mirror == NULL || age_ms < 0) {
        return false;
    }
    *ret_face = (struct mirror_face){catalog_view(mirror_catalog(mirror)), age_ms};
    return true;
}

bool mirror_pull_look(const struct mirror_pull *pull, struct mirror_face *ret_face) {
    return look(pull, atomic_load(&pull->live), ret_face);
}

bool mirror_pull_use(const struct mirror_pull *pull, const char *service,
                     struct mirror_face *ret_face) {
    const struct mirror *mirror = atomic_load(&pull->live);
    return mirror != NULL && mirror_use(mirror, service, clock_monotonic_ms()) &&
           look(pull, mirror, ret_face);
}

void mirror_pull_get_counts(const struct mirror_pull *pull, struct mirror_pull_counts *ret_counts) {
    *ret_counts = (struct mirror_pull_counts){.parts = pull->counts.parts,
                                              .bytes = pull->counts.bytes,
                                              .packed_bytes = pull->counts.packed_bytes,
                                              .begun = pull->counts.begun,
                                              .broken = pull->counts.broken,
                                              .index = pull->counts.index,
                                              .instances = pull->counts.instances,
                                              .row_bytes = pull->counts.row_bytes};
}
