#include "agent/coordinates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/pools.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/crypto.h"

#define MODULE "agent"
#define BODY_BYTES 8192
#define MOVED_S 2e-5
#define MOVED_ERROR 0.05
#define UNTOLD_MAX 20
#define PENDING_MAX (LIMIT_COORDINATE_BATCH * LIMIT_COORDINATE_BATCHES)

/* A command of coordinates on its way through the log. */
struct batch {
    struct group_proposal proposal;
    struct coordinates *coordinates;
};

struct coordinates {
    struct agent *agent;
    struct rand rand;
    struct loop_timer send_timer, flush_timer;
    struct backend_call call; /* the own one, */
    bool sending;             /* which is under way */
    struct buf body;          /* of it, at an agent without -server, */
    bool accepted;            /* which a server has taken */
    struct coordinate told;   /* the last one that was sent */
    unsigned untold;          /* so often since then it was not worth telling */
    bool flushing;            /* the timer runs */
    struct catalog_coordinate pending[PENDING_MAX];
    uint32_t pending_count, dropped;
    uint32_t batches; /* under way */
};

static int64_t period_ms(const struct coordinates *coordinates) {
    int64_t ms = coordinates->agent->config->coordinate_period_ns / DURATION_MS;
    return ms > 0 ? ms : 1;
}

/* ---- the own one ---- */

/* In a large pool so that all of them together send LIMIT_COORDINATE_RATE a second. */
static int64_t interval_ms(const struct coordinates *coordinates) {
    struct backend_pool_stats stats;
    int64_t least = coordinates->agent->config->coordinate_interval_ns / DURATION_MS;
    pools_get_stats(coordinates->agent->pools, false, &stats);
    int64_t scaled = (int64_t)stats.alive * 1000 / LIMIT_COORDINATE_RATE;
    return scaled > least ? scaled : least;
}

static void send_again(struct coordinates *coordinates, int64_t after_ms) {
    struct loop *loop = coordinates->agent->loop;
    /* Half of it at random: agents that were started together part. */
    int64_t spread = (int64_t)rand_below(&coordinates->rand, (uint64_t)after_ms / 2 + 1);
    loop_timer_start(loop, &coordinates->send_timer,
                     loop_now_ms(loop) + after_ms - after_ms / 4 + spread);
}

/* As applications want it (Ledlie, Gardner, Seltzer, NSDI 2007, 6): told once it has moved so that
 * somebody could care, and now and then all the same. */
static bool is_worth_telling(struct coordinates *coordinates, const struct coordinate *at) {
    const struct coordinate *told = &coordinates->told;
    double moved_s = coordinate_between(told, at) + fabs(told->height - at->height) +
                     fabs(told->adjustment - at->adjustment);
    bool worth = moved_s > MOVED_S || fabs(told->error - at->error) > MOVED_ERROR ||
                 ++coordinates->untold > UNTOLD_MAX;
    coordinates->untold = worth ? 0 : coordinates->untold;
    return worth;
}

static void sent(struct backend_call *call) {
    struct coordinates *coordinates = call->context;
    coordinates->sending = false;
    if (call->kind == BACKEND_FORWARD) {
        coordinates->accepted = call->err == ERR_OK && call->forward.reply != NULL &&
                                call->forward.reply->status == 200;
        free(call->forward.reply);
        free(call->answer);
        buf_clear(&coordinates->body);
    }
    if (call->err != ERR_OK) {
        log_write(coordinates->agent->log, LOG_DEBUG, MODULE, "Coordinate update error: error=%s",
                  call->text.s);
    }
}

/* A server takes its own; an agent without -server asks one as any client would. */
static void begin_send(struct coordinates *coordinates, const struct coordinate *at) {
    struct agent *agent = coordinates->agent;
    const char *node = agent->facts.node_name;
    coordinates->call = (struct backend_call){.done = sent, .context = coordinates};
    if (agent->config->server) {
        coordinates->call.kind = BACKEND_COORDINATE;
        coordinates->call.coordinate =
            (struct catalog_coordinate){.node = node, .segment = "", .at = *at};
    } else {
        struct json json;
        buf_init(&coordinates->body, BODY_BYTES);
        json_init(&json, &coordinates->body, false);
        json_object_begin(&json);
        json_member_str(&json, "Node", node);
        json_key(&json, "Coord");
        definition_write_coordinate(&json, at);
        json_object_end(&json);
        coordinates->call.kind = BACKEND_FORWARD;
        coordinates->call.forward.datacenter = "";
        coordinates->call.forward.method = "PUT";
        coordinates->call.forward.target = "/v1/coordinate/update";
        coordinates->call.forward.node = node;
        coordinates->call.forward.body = coordinates->body.data;
        coordinates->call.forward.body_size = coordinates->body.count;
        coordinates->call.forward.repeatable = true;
    }
    coordinates->sending = true;
    agent->backend.submit(agent->backend.context, &coordinates->call);
}

static bool is_known(const struct coordinates *coordinates) {
    struct agent *agent = coordinates->agent;
    if (!agent->config->server) {
        return coordinates->accepted;
    }
    epoch_enter(agent->epoch);
    bool known = view_get_coordinate(catalog_view(agent->catalog), agent->facts.node_name) != NULL;
    epoch_exit(agent->epoch);
    return known;
}

static void send_own(struct loop_timer *timer) {
    struct coordinates *coordinates = CONTAINER_OF(timer, struct coordinates, send_timer);
    struct agent *agent = coordinates->agent;
    struct backend_pool_stats stats;
    pools_get_stats(agent->pools, false, &stats);
    bool known = is_known(coordinates);
    if (!coordinates->sending && agent->backend.has_leader(agent) &&
        (!known || is_worth_telling(coordinates, &stats.at))) {
        coordinates->told = stats.at;
        begin_send(coordinates, &stats.at);
    }
    /* Soon again while the catalog has none: the node may not have been there yet. */
    send_again(coordinates, known ? interval_ms(coordinates) : period_ms(coordinates));
}

/* ---- those that were sent ---- */

static void flush_later(struct coordinates *coordinates) {
    struct loop *loop = coordinates->agent->loop;
    if (!coordinates->flushing) {
        coordinates->flushing = true;
        loop_timer_start(loop, &coordinates->flush_timer,
                         loop_now_ms(loop) + period_ms(coordinates));
    }
}

static void clear_row(struct catalog_coordinate *row) {
    free((void *)(uintptr_t)row->node);
    free((void *)(uintptr_t)row->segment);
}

void coordinates_take(struct coordinates *coordinates, const struct catalog_coordinate *row) {
    for (uint32_t i = 0; i < coordinates->pending_count; i++) {
        struct catalog_coordinate *at = &coordinates->pending[i];
        if (str_equal_fold(at->node, row->node) && strcmp(at->segment, row->segment) == 0) {
            at->at = row->at;
            return;
        }
    }
    if (coordinates->pending_count == PENDING_MAX) {
        coordinates->dropped++;
        return;
    }
    flush_later(coordinates);
    coordinates->pending[coordinates->pending_count++] = (struct catalog_coordinate){
        .node = mem_strdup(row->node), .segment = mem_strdup(row->segment), .at = row->at};
}

static void batch_done(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct batch *batch = CONTAINER_OF(proposal, struct batch, proposal);
    struct coordinates *coordinates = batch->coordinates;
    coordinates->batches--;
    if (err != ERR_OK && !coordinates->agent->stopping) {
        log_write(coordinates->agent->log, LOG_DEBUG, MODULE, "Batch update failed: error=%s",
                  text->s);
    }
    free(batch);
}

static void propose(struct coordinates *coordinates, const struct catalog_coordinate *rows,
                    uint32_t count) {
    struct catalog_command command = {.kind = COMMAND_COORDINATES, .coordinates = {rows, count}};
    struct batch *batch = mem_calloc(1, sizeof *batch);
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    batch->coordinates = coordinates;
    batch->proposal.done = batch_done;
    batch->proposal.data = (uint8_t *)buf_take(&out, &batch->proposal.size);
    coordinates->batches++;
    group_propose(coordinates->agent->group, &batch->proposal);
}

/* Those that the catalog has already would be an entry for nothing. */
static void drop_known(struct coordinates *coordinates) {
    struct agent *agent = coordinates->agent;
    uint32_t kept = 0;
    epoch_enter(agent->epoch);
    for (uint32_t i = 0; i < coordinates->pending_count; i++) {
        struct catalog_coordinate *row = &coordinates->pending[i];
        const struct coordinate *known =
            *row->segment == '\0' ? view_get_coordinate(catalog_view(agent->catalog), row->node)
                                  : NULL;
        if (known != NULL && coordinate_equal(known, &row->at)) {
            clear_row(row);
        } else {
            coordinates->pending[kept++] = *row;
        }
    }
    epoch_exit(agent->epoch);
    coordinates->pending_count = kept;
}

static void flush(struct loop_timer *timer) {
    struct coordinates *coordinates = CONTAINER_OF(timer, struct coordinates, flush_timer);
    struct agent *agent = coordinates->agent;
    coordinates->flushing = false;
    /* While some are still on their way more would only pile up. */
    if (coordinates->batches == 0 && !agent->stopping) {
        drop_known(coordinates);
        for (uint32_t i = 0; i < coordinates->pending_count; i += LIMIT_COORDINATE_BATCH) {
            uint32_t left = coordinates->pending_count - i;
            propose(coordinates, coordinates->pending + i,
                    left < LIMIT_COORDINATE_BATCH ? left : LIMIT_COORDINATE_BATCH);
        }
        for (uint32_t i = 0; i < coordinates->pending_count; i++) {
            clear_row(&coordinates->pending[i]);
        }
        coordinates->pending_count = 0;
    } else {
        flush_later(coordinates);
    }
    if (coordinates->dropped > 0) {
        log_write(agent->log, LOG_WARN, MODULE, "Discarded coordinate updates: number_discarded=%u",
                  coordinates->dropped);
        coordinates->dropped = 0;
    }
}

/* ---- life ---- */

struct coordinates *coordinates_create(struct agent *agent) {
    struct coordinates *coordinates = mem_calloc(1, sizeof *coordinates);
    rand_init(&coordinates->rand, crypto_random_u64());
    coordinates->agent = agent;
    coordinates->send_timer.run = send_own;
    coordinates->flush_timer.run = flush;
    return coordinates;
}

void coordinates_start(struct coordinates *coordinates) {
    struct agent *agent = coordinates->agent;
    if (agent->config->disable_coordinates) {
        return;
    }
    send_again(coordinates, period_ms(coordinates));
}

void coordinates_destroy(struct coordinates *coordinates) {
    if (coordinates == NULL) {
        return;
    }
    loop_timer_stop(coordinates->agent->loop, &coordinates->send_timer);
    loop_timer_stop(coordinates->agent->loop, &coordinates->flush_timer);
    for (uint32_t i = 0; i < coordinates->pending_count; i++) {
        clear_row(&coordinates->pending[i]);
    }
    free(coordinates);
}
