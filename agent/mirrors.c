#include "agent/mirrors.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/corrections.h"
#include "agent/internal.h"
#include "agent/servers.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "net/crypto.h"

#define EVICT_MS 5000

struct mirror_gauges {
    struct metric *age, *instances, *bytes, *received, *begun;
};

/* Of another datacenter; stays while the agent runs. */
struct entry {
    struct entry *next;
    struct mirror_pull *pull;
    struct mirror_gauges gauges;
    char datacenter[];
};

struct mirrors {
    struct agent *agent;
    struct mirror_sources *sources; /* NULL: no server */
    _Atomic(struct entry *) entries;
    uint32_t count;
    bool near;                      /* another server leads */
    struct mirror_pull *subscribed; /* NULL: a server */
    struct mirror_gauges subscribed_gauges;
    struct corrections corrections;
    struct metric *streams, *sent;
    struct loop_timer evict_timer;
    _Atomic unsigned wants; /* on their way to the core */
    _Atomic int64_t max_age_ms;
};

/* A service that somebody has looked up, on its way to the core. */
struct want {
    struct loop_task task;
    struct agent *agent;
    char service[];
};

/* ---- what others mirror ---- */

static struct entry *find_entry(const struct mirrors *mirrors, const char *datacenter) {
    struct entry *entry = atomic_load(&mirrors->entries);
    while (entry != NULL && !str_equal_fold(entry->datacenter, datacenter)) {
        entry = entry->next;
    }
    return entry;
}

static bool find_origin(void *context, const char *datacenter, struct mirror_origin *ret_origin) {
    struct mirrors *mirrors = context;
    struct agent *agent = mirrors->agent;
    if (*datacenter == '\0' || str_equal_fold(datacenter, agent->config->datacenter)) {
        ret_origin->catalog = agent->catalog;
        ret_origin->lag_ms = group_contact_ms(agent->group);
        return ret_origin->lag_ms >= 0 && group_get_cluster(agent->group, &ret_origin->cluster);
    }
    const struct entry *entry = find_entry(mirrors, datacenter);
    const struct mirror *mirror = entry != NULL ? mirror_pull_mirror(entry->pull) : NULL;
    struct mirror_face face;
    if (mirror == NULL || !mirror_pull_look(entry->pull, &face)) {
        return false;
    }
    ret_origin->catalog = mirror_catalog(mirror);
    ret_origin->lag_ms = face.age_ms;
    return mirror_pull_cluster(entry->pull, &ret_origin->cluster);
}

/* ---- other datacenters ---- */

static struct rpc_connection *leader_connection(void *context) {
    return group_leader_connection(((struct mirrors *)context)->agent->group);
}

static void mirror_published(void *context) {
    mirror_sources_published(((struct mirrors *)context)->sources);
}

static bool is_in_use(void *context, const struct catalog *catalog) {
    return mirror_sources_use(((struct mirrors *)context)->sources, catalog);
}

static struct mirror_pull_config pull_config(struct mirrors *mirrors, const char *datacenter) {
    struct agent *agent = mirrors->agent;
    return (struct mirror_pull_config){.loop = agent->loop,
                                       .log = agent->log,
                                       .epoch = agent->epoch,
                                       .datacenter = datacenter,
                                       .place = mirrors->count,
                                       .shown = *datacenter != '\0' ? datacenter
                                                                    : agent->config->datacenter,
                                       .links = agent->links,
                                       .context = mirrors,
                                       .seed = crypto_random_u64()};
}

static struct mirror_gauges add_gauges(struct agent *agent, const char *datacenter) {
    struct metrics *all = agent->telemetry.metrics;
    const struct str_pair label = {"datacenter", datacenter};
    return (struct mirror_gauges){
        metrics_add(all, METRIC_GAUGE, "mirror.age_ms",
                    "Milliseconds since the mirrored rows were surely so; -1: none have come.",
                    &label, 1),
        metrics_add(all, METRIC_GAUGE, "mirror.service_instances", "Mirrored service instances.",
                    &label, 1),
        metrics_add(all, METRIC_GAUGE, "mirror.bytes", "About what the mirrored rows take.", &label,
                    1),
        metrics_add(all, METRIC_GAUGE, "mirror.received_bytes",
                    "Bytes of streams of rows, packed, since the start.", &label, 1),
        metrics_add(all, METRIC_GAUGE, "mirror.begun",
                    "How often a stream began from scratch, since the start.", &label, 1)};
}

void mirrors_note_datacenter(struct agent *agent, const char *datacenter) {
    struct mirrors *mirrors = agent->mirrors;
    if (mirrors == NULL || mirrors->sources == NULL || !agent->config->mirror.enabled ||
        mirrors->count == LIMIT_MIRRORS || find_entry(mirrors, datacenter) != NULL ||
        str_equal_fold(datacenter, agent->config->datacenter)) {
        return;
    }
    struct entry *entry = mem_alloc(sizeof *entry + strlen(datacenter) + 1);
    strcpy(entry->datacenter, datacenter);
    struct mirror_pull_config config = pull_config(mirrors, datacenter);
    config.all = config.mirrored = true;
    config.bytes_max = (size_t)agent->config->mirror.bytes_max;
    config.near = leader_connection;
    config.published = mirror_published;
    config.in_use = is_in_use;
    entry->pull = mirror_pull_create(&config);
    entry->gauges = add_gauges(agent, datacenter);
    entry->next = atomic_load(&mirrors->entries);
    atomic_store(&mirrors->entries, entry);
    mirrors->count++;
    mirror_pull_go_by(entry->pull, mirrors->near);
}

void mirrors_follow_leader(struct agent *agent) {
    struct mirrors *mirrors = agent->mirrors;
    if (mirrors == NULL || mirrors->sources == NULL) {
        return;
    }
    bool near = group_has_leader(agent->group) && !group_leads(agent->group);
    mirrors->near = near;
    for (struct entry *entry = atomic_load(&mirrors->entries); entry != NULL; entry = entry->next) {
        mirror_pull_go_by(entry->pull, near);
    }
}

void mirrors_published(struct agent *agent) {
    if (agent->mirrors != NULL) {
        mirror_sources_published(agent->mirrors->sources);
    }
}

/* Any thread, inside an epoch section. */
static bool is_young(struct mirrors *mirrors, const struct mirror_face *face) {
    int64_t max_age_ms = atomic_load(&mirrors->max_age_ms);
    return max_age_ms == 0 || face->age_ms <= max_age_ms;
}

bool mirrors_look(struct agent *agent, const char *datacenter, struct mirror_face *ret_face) {
    struct mirrors *mirrors = agent->mirrors;
    const struct entry *entry = mirrors != NULL ? find_entry(mirrors, datacenter) : NULL;
    return entry != NULL && mirror_pull_look(entry->pull, ret_face) && is_young(mirrors, ret_face);
}

/* ---- services that are looked up on this host ---- */

static void take_want(struct loop_task *task) {
    struct want *want = CONTAINER_OF(task, struct want, task);
    struct mirrors *mirrors = want->agent->mirrors;
    if (mirrors != NULL) { /* else the agent ends */
        atomic_fetch_sub(&mirrors->wants, 1);
        mirror_pull_want(mirrors->subscribed, want->service);
    }
    free(want);
}

bool mirrors_look_subscribed(struct agent *agent, const char *service,
                             struct mirror_face *ret_face) {
    struct mirrors *mirrors = agent->mirrors;
    if (mirrors == NULL || mirrors->subscribed == NULL) {
        return false;
    }
    if (service == NULL) {
        return mirror_pull_look(mirrors->subscribed, ret_face) && is_young(mirrors, ret_face);
    }
    if (mirror_pull_use(mirrors->subscribed, service, ret_face)) {
        return is_young(mirrors, ret_face);
    }
    size_t size = strlen(service) + 1;
    if (size > 1 && size <= LIMIT_NAME_BYTES &&
        atomic_fetch_add(&mirrors->wants, 1) < LIMIT_MIRROR_WANTS) {
        struct want *want = mem_calloc(1, sizeof *want + size);
        want->task.run = take_want;
        want->agent = agent;
        memcpy(want->service, service, size);
        loop_post(agent->loop, &want->task);
    } else if (size > 1 && size <= LIMIT_NAME_BYTES) {
        atomic_fetch_sub(&mirrors->wants, 1);
    }
    return false;
}

static void evict(struct loop_timer *timer) {
    struct mirrors *mirrors = CONTAINER_OF(timer, struct mirrors, evict_timer);
    struct loop *loop = mirrors->agent->loop;
    int64_t idle_ms = mirrors->agent->config->mirror.idle_ns / DURATION_MS;
    mirror_pull_evict(mirrors->subscribed, loop_now_ms(loop) - idle_ms);
    loop_timer_start(loop, timer, loop_now_ms(loop) + EVICT_MS);
}

void mirrors_turn_end(struct agent *agent) {
    struct mirrors *mirrors = agent->mirrors;
    struct mirror_pull *pull = mirrors != NULL ? mirrors->subscribed : NULL;
    struct mirror *mirror = pull != NULL ? mirror_pull_mirror(pull) : NULL;
    if (mirror == NULL || agent->stopping) {
        return;
    }
    struct corrections_facts facts = {.old = mirror_pull_is_old(pull),
                                      .node = agent->facts.node_name,
                                      .own_version = agent->own_version,
                                      .now_ms = loop_now_ms(agent->loop)};
    epoch_enter(agent->epoch);
    facts.own = catalog_view(agent->own);
    facts.pool = agent->backend.lan;
    corrections_make(&mirrors->corrections, mirror, &facts);
    epoch_exit(agent->epoch);
}

/* ---- life ---- */

bool mirrors_create(struct agent *agent) {
    const struct config *config = agent->config;
    struct mirrors *mirrors = mem_calloc(1, sizeof *mirrors);
    mirrors->agent = agent;
    atomic_init(&mirrors->max_age_ms, config->mirror.max_age_ns / DURATION_MS);
    agent->mirrors = mirrors;
    if (config->server) {
        struct mirror_sources_config sources = {.loop = agent->loop,
                                                .epoch = agent->epoch,
                                                .rpc = servers_rpc(agent),
                                                .find = find_origin,
                                                .context = mirrors};
        mirrors->sources = mirror_sources_create(&sources);
        mirrors->streams = metrics_add(agent->telemetry.metrics, METRIC_GAUGE, "mirror.streams",
                                       "Streams of rows that this server tells.", NULL, 0);
        mirrors->sent = metrics_add(agent->telemetry.metrics, METRIC_GAUGE, "mirror.sent_bytes",
                                    "Bytes of them, packed, since the start.", NULL, 0);
        mirrors_follow_leader(agent);
    } else if (config->mirror.enabled) {
        struct mirror_pull_config pull = pull_config(mirrors, "");
        pull.bytes_max = (size_t)config->mirror.subscribed_bytes_max;
        mirrors->subscribed = mirror_pull_create(&pull);
        mirrors->subscribed_gauges = add_gauges(agent, config->datacenter);
        mirror_pull_go_by(mirrors->subscribed, false);
        mirrors->evict_timer.run = evict;
        loop_timer_start(agent->loop, &mirrors->evict_timer, loop_now_ms(agent->loop) + EVICT_MS);
    }
    return true;
}

void mirrors_destroy(struct agent *agent) {
    struct mirrors *mirrors = agent->mirrors;
    if (mirrors == NULL) {
        return;
    }
    loop_timer_stop(agent->loop, &mirrors->evict_timer);
    mirror_sources_destroy(mirrors->sources);
    mirrors->sources = NULL;
    struct entry *next;
    for (struct entry *entry = atomic_load(&mirrors->entries); entry != NULL; entry = next) {
        next = entry->next;
        mirror_pull_destroy(entry->pull);
        free(entry);
    }
    mirror_pull_destroy(mirrors->subscribed);
    free(mirrors);
    agent->mirrors = NULL;
}

/* ---- metrics ---- */

static void set_gauges(const struct mirror_gauges *to, const struct mirror_pull *pull) {
    struct mirror_face face = {.age_ms = -1};
    struct mirror_pull_counts counts;
    (void)mirror_pull_look(pull, &face);
    mirror_pull_get_counts(pull, &counts);
    metric_set(to->age, (double)face.age_ms);
    metric_set(to->instances, (double)counts.instances);
    metric_set(to->bytes, (double)counts.row_bytes);
    metric_set(to->received, (double)counts.packed_bytes);
    metric_set(to->begun, (double)counts.begun);
}

void mirrors_refresh_metrics(struct agent *agent) {
    struct mirrors *mirrors = agent->mirrors;
    if (mirrors == NULL) {
        return;
    }
    for (struct entry *entry = atomic_load(&mirrors->entries); entry != NULL; entry = entry->next) {
        set_gauges(&entry->gauges, entry->pull);
    }
    if (mirrors->subscribed != NULL) {
        set_gauges(&mirrors->subscribed_gauges, mirrors->subscribed);
    }
    struct mirror_source_counts counts;
    mirror_sources_get_counts(mirrors->sources, &counts);
    metric_set(mirrors->streams, counts.streams);
    metric_set(mirrors->sent, (double)counts.packed_bytes);
}
