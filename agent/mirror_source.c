#include "agent/mirror_source.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/squeeze.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/mirror.h"
#include "proto/rpc.pb-c.h"
#include "store/work_thread.h"

#define TICK_MS 100
#define PACE_MS 10 /* changes gather so long */
#define TICKETS (2 * LIMIT_MIRROR_CREDIT)
#define IDLE_MS 15000
#define STOP_MS 2000
#define BUCKETS 1024 /* by connection */

struct place {
    struct rpc_ticket ticket;
    int64_t asked_at_ms; /* by the clock, not by the turn: age is counted from it */
};

struct stream {
    struct stream *next; /* of its bucket */
    struct mirror_sources *sources;
    uint64_t connection;
    uint32_t number;
    char *datacenter;
    bool all;
    struct mirror_feed *feed;
    struct mirror_origin origin;
    struct place places[TICKETS]; /* oldest first */
    uint32_t place_count;
    int64_t asked_at_ms, told_at_ms; /* last */
    /* A part that the thread makes. */
    bool running, forgotten;
    struct store_work work;
    struct loop_task task;
    struct mirror_job job;
    int64_t planned_at_ms;
    uint8_t *packed;
    size_t packed_size;
};

struct mirror_sources {
    struct mirror_sources_config config;
    struct store_work_thread *thread; /* NULL: nobody has asked yet */
    struct stream *buckets[BUCKETS];
    _Atomic uint32_t count;
    struct loop_timer timer;
    bool ticking, closing;
    int64_t tick_at_ms; /* the timer's */
    struct {
        _Atomic uint64_t parts, bytes, packed_bytes;
    } counts;
};

static int64_t now_ms(const struct mirror_sources *sources) {
    return loop_now_ms(sources->config.loop);
}

static void free_stream(struct stream *stream) {
    mirror_feed_destroy(stream->feed);
    mirror_job_clear(&stream->job);
    free(stream->packed);
    free(stream->datacenter);
    free(stream);
}

static struct stream **bucket_of(struct mirror_sources *sources, uint64_t connection) {
    return &sources->buckets[hash_mix(connection) % BUCKETS];
}

/* Freed now, or once the thread is done with it. */
static void forget(struct stream *stream) {
    struct mirror_sources *sources = stream->sources;
    struct stream **at = bucket_of(sources, stream->connection);
    stream->forgotten = true;
    if (stream->running) {
        return;
    }
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    sources->count--;
    free_stream(stream);
}

static void refuse(struct mirror_sources *sources, struct rpc_ticket ticket, enum err err,
                   const char *sentence) {
    struct err_text text;
    err_set(&text, err, "%s", sentence);
    rpc_answer(sources->config.rpc, ticket, err, &text, NULL, 0);
}

static void refuse_all(struct stream *stream, const char *sentence) {
    for (uint32_t i = 0; i < stream->place_count; i++) {
        refuse(stream->sources, stream->places[i].ticket, ERR_NOT_FOUND, sentence);
    }
    stream->place_count = 0;
}

/* ---- answers ---- */

static void answer(struct stream *stream, Pb__RpcMirrorBatch *batch, int64_t as_of_ms) {
    struct mirror_sources *sources = stream->sources;
    struct place place = stream->places[0];
    int64_t held_ms = as_of_ms - place.asked_at_ms - 1; /* both are cut to whole milliseconds */
    stream->told_at_ms = now_ms(sources);
    stream->place_count--;
    memmove(stream->places, stream->places + 1, stream->place_count * sizeof place);
    batch->held_ms = held_ms > 0 ? (uint32_t)held_ms : 0;
    batch->lag_ms = (uint64_t)stream->origin.lag_ms;
    batch->cluster = (ProtobufCBinaryData){16, stream->origin.cluster.bytes};
    size_t size = pb__rpc_mirror_batch__get_packed_size(batch);
    uint8_t *body = mem_alloc(size + 1);
    pb__rpc_mirror_batch__pack(batch, body);
    rpc_answer(sources->config.rpc, place.ticket, ERR_OK, NULL, body, size);
    free(body);
    sources->counts.parts++;
    sources->counts.bytes += batch->size;
    sources->counts.packed_bytes += size;
}

static void answer_part(struct stream *stream) {
    Pb__RpcMirrorBatch batch = PB__RPC_MIRROR_BATCH__INIT;
    batch.begins = stream->job.begins;
    batch.whole = stream->job.whole;
    batch.current = stream->job.current;
    batch.index = stream->job.index;
    batch.newest = catalog_changes_newest(stream->origin.catalog);
    batch.size = (uint32_t)stream->job.out.count;
    batch.records = (ProtobufCBinaryData){stream->packed_size, stream->packed};
    answer(stream, &batch, stream->planned_at_ms);
}

/* All that there is was told. */
static void answer_beat(struct stream *stream) {
    int64_t as_of_ms = clock_monotonic_ms();
    Pb__RpcMirrorBatch batch = PB__RPC_MIRROR_BATCH__INIT;
    batch.whole = batch.current = true;
    batch.index = view_applied(catalog_view(stream->origin.catalog)); /* of this thread's making */
    answer(stream, &batch, as_of_ms);
}

/* ---- parts ---- */

/* The thread. */
static void make(struct store_work *work, void *context) {
    struct stream *stream = context;
    struct epoch *epoch = stream->sources->config.epoch;
    (void)work;
    epoch_enter(epoch);
    mirror_job_run(&stream->job, catalog_view(stream->origin.catalog));
    epoch_exit(epoch);
    if (!stream->job.empty && !stream->job.out.failed) {
        stream->packed = squeeze(stream->job.out.data, stream->job.out.count, &stream->packed_size);
    }
    loop_post(stream->sources->config.loop, &stream->task);
}

/* Finds the rows, and begins anew if they are others. False: the stream is gone. */
static bool follow_origin(struct stream *stream) {
    struct mirror_sources *sources = stream->sources;
    struct mirror_origin origin;
    if (!sources->config.find(sources->config.context, stream->datacenter, &origin)) {
        refuse_all(stream, "the rows are not known here");
        forget(stream);
        return false;
    }
    if (origin.catalog != stream->origin.catalog) {
        refuse_all(stream, "the rows are others now");
        forget(stream);
        return false;
    }
    stream->origin = origin;
    return true;
}

/* False: the stream is gone. */
static bool pump(struct stream *stream) {
    if (stream->running || stream->place_count == 0) {
        return true;
    }
    if (!follow_origin(stream)) {
        return false;
    }
    if (mirror_feed_has_news(stream->feed, stream->origin.catalog)) {
        stream->running = true;
        stream->planned_at_ms = clock_monotonic_ms();
        mirror_feed_plan(stream->feed, stream->origin.catalog, LIMIT_MIRROR_PART_BYTES,
                         &stream->job);
        store_work_thread_run(stream->sources->thread, &stream->work);
    }
    return true;
}

static void made(struct loop_task *task) {
    struct stream *stream = CONTAINER_OF(task, struct stream, task);
    struct mirror_sources *sources = stream->sources;
    stream->running = false;
    if (stream->forgotten || sources->closing) {
        forget(stream);
        if (sources->closing && sources->count == 0) {
            free(sources); /* it was the last that the thread had */
        }
        return;
    }
    mirror_feed_take(stream->feed, &stream->job);
    if (stream->packed != NULL) {
        answer_part(stream);
    }
    free(stream->packed);
    stream->packed = NULL;
    mirror_job_clear(&stream->job);
    (void)pump(stream);
}

/* ---- the clock ---- */

static void look_by(struct mirror_sources *sources, int64_t at_ms) {
    if (!sources->closing && (!sources->ticking || at_ms < sources->tick_at_ms)) {
        sources->ticking = true;
        sources->tick_at_ms = at_ms;
        loop_timer_start(sources->config.loop, &sources->timer, at_ms);
    }
}

/* There are many agents that have subscribed some services. */
static int64_t beat_ms(const struct stream *stream) {
    return stream->all ? LIMIT_MIRROR_BEAT_MS : 2 * LIMIT_MIRROR_BEAT_MS;
}

static void look_at(struct stream *stream, int64_t now) {
    if (stream->forgotten) {
        return;
    }
    if (stream->place_count == 0) {
        if (!stream->running && now - stream->asked_at_ms >= IDLE_MS) {
            forget(stream);
        }
    } else if (pump(stream) && !stream->running && now - stream->told_at_ms >= beat_ms(stream)) {
        answer_beat(stream);
    }
}

static void look(struct loop_timer *timer) {
    struct mirror_sources *sources = CONTAINER_OF(timer, struct mirror_sources, timer);
    int64_t now = now_ms(sources);
    sources->ticking = false;
    for (size_t i = 0; i < BUCKETS && sources->count > 0; i++) {
        struct stream *next;
        for (struct stream *stream = sources->buckets[i]; stream != NULL; stream = next) {
            next = stream->next;
            look_at(stream, now);
        }
    }
    if (sources->count > 0) {
        look_by(sources, now + TICK_MS);
    }
}

void mirror_sources_published(struct mirror_sources *sources) {
    if (sources != NULL && sources->count > 0) {
        look_by(sources, now_ms(sources) + PACE_MS);
    }
}

/* ---- requests ---- */

static struct stream *find_stream(struct mirror_sources *sources, uint64_t connection,
                                  uint32_t number) {
    struct stream *stream = *bucket_of(sources, connection);
    while (stream != NULL &&
           (stream->connection != connection || stream->number != number || stream->forgotten)) {
        stream = stream->next;
    }
    return stream;
}

static struct stream *open_stream(struct mirror_sources *sources, struct rpc_ticket ticket,
                                  const Pb__RpcMirror *asked) {
    struct mirror_origin origin;
    struct stream *old = find_stream(sources, ticket.connection, asked->stream);
    if (old != NULL) {
        refuse_all(old, "the stream begins anew");
        forget(old);
    }
    if (sources->count >= LIMIT_MIRROR_STREAMS) {
        refuse(sources, ticket, ERR_OVERLOADED, "too many streams of rows");
        return NULL;
    }
    if (!sources->config.find(sources->config.context, asked->datacenter, &origin)) {
        refuse(sources, ticket, ERR_NOT_FOUND, "the rows are not known here");
        return NULL;
    }
    struct stream *stream = mem_calloc(1, sizeof *stream);
    struct stream **bucket = bucket_of(sources, ticket.connection);
    stream->next = *bucket;
    *bucket = stream;
    sources->count++;
    stream->sources = sources;
    stream->connection = ticket.connection;
    stream->number = asked->stream;
    stream->datacenter = mem_strdup(asked->datacenter);
    stream->all = asked->all;
    stream->origin = origin;
    stream->told_at_ms = now_ms(sources);
    stream->work = (struct store_work){.run = make, .context = stream};
    stream->task.run = made;
    stream->feed = mirror_feed_create(asked->all);
    if (asked->cluster.len == sizeof origin.cluster.bytes &&
        (memcmp(asked->cluster.data, origin.cluster.bytes, asked->cluster.len) == 0 ||
         MUTANT(any_cluster_resumes))) {
        (void)mirror_feed_resume(stream->feed, origin.catalog, asked->index,
                                 (const char *const *)asked->have, (uint32_t)asked->n_have);
    } else {
        for (size_t i = 0; i < asked->n_have; i++) {
            (void)mirror_feed_add(stream->feed, asked->have[i]);
        }
    }
    if (sources->thread == NULL) {
        sources->thread = store_work_thread_start();
    }
    return stream;
}

static void take(struct mirror_sources *sources, struct rpc_ticket ticket,
                 const Pb__RpcMirror *asked) {
    struct stream *stream = asked->open ? open_stream(sources, ticket, asked)
                                        : find_stream(sources, ticket.connection, asked->stream);
    if (stream == NULL) {
        if (!asked->open) {
            refuse(sources, ticket, ERR_NOT_FOUND, "the stream is not known here");
        }
        return;
    }
    if (stream->place_count == TICKETS) {
        refuse(sources, ticket, ERR_OVERLOADED, "too many requests of one stream");
        return;
    }
    for (size_t i = 0; i < asked->n_remove; i++) {
        mirror_feed_remove(stream->feed, asked->remove[i]);
    }
    for (size_t i = 0; i < asked->n_add; i++) {
        (void)mirror_feed_add(stream->feed, asked->add[i]); /* who asks for too many is not told */
    }
    stream->asked_at_ms = now_ms(sources);
    stream->places[stream->place_count++] = (struct place){ticket, clock_monotonic_ms()};
    if (pump(stream)) {
        look_by(sources, now_ms(sources) + TICK_MS);
    }
}

static void requested(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                      const uint8_t *body, size_t size) {
    struct mirror_sources *sources = context;
    (void)from;
    Pb__RpcMirror *asked = pb__rpc_mirror__unpack(NULL, size, body);
    if (asked == NULL) {
        refuse(sources, ticket, ERR_INVALID, "not a request for rows");
        return;
    }
    take(sources, ticket, asked);
    pb__rpc_mirror__free_unpacked(asked, NULL);
}

/* ---- life ---- */

struct mirror_sources *mirror_sources_create(const struct mirror_sources_config *config) {
    static const struct rpc_service service = {.request = requested};
    struct mirror_sources *sources = mem_calloc(1, sizeof *sources);
    sources->config = *config;
    sources->timer.run = look;
    rpc_serve(config->rpc, RPC_METHOD_MIRROR, &service, sources);
    return sources;
}

void mirror_sources_destroy(struct mirror_sources *sources) {
    if (sources == NULL) {
        return;
    }
    sources->closing = true;
    loop_timer_stop(sources->config.loop, &sources->timer);
    if (sources->thread != NULL && !store_work_thread_stop(sources->thread, STOP_MS)) {
        return; /* it computes still: the process ends without it */
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        struct stream *next;
        for (struct stream *stream = sources->buckets[i]; stream != NULL; stream = next) {
            next = stream->next;
            forget(stream);
        }
    }
    if (sources->count == 0) {
        free(sources); /* else with the last report of the thread that is in the loop */
    }
}

bool mirror_sources_use(const struct mirror_sources *sources, const struct catalog *catalog) {
    for (size_t i = 0; sources != NULL && sources->count > 0 && i < BUCKETS; i++) {
        for (const struct stream *stream = sources->buckets[i]; stream != NULL;
             stream = stream->next) {
            if (stream->running && stream->origin.catalog == catalog) {
                return true;
            }
        }
    }
    return false;
}

void mirror_sources_get_counts(const struct mirror_sources *sources,
                               struct mirror_source_counts *ret_counts) {
    *ret_counts = (struct mirror_source_counts){0};
    if (sources != NULL) {
        *ret_counts = (struct mirror_source_counts){.streams = sources->count,
                                                    .parts = sources->counts.parts,
                                                    .bytes = sources->counts.bytes,
                                                    .packed_bytes = sources->counts.packed_bytes};
    }
}
