/* The rows of a server that has diverged (group_check.c) are replaced by those of the leader's
 * newest snapshot, which it takes anew if need be. It comes in pieces, asked for one by one; then
 * the server goes on from the snapshot's index. Its log is in order and stays as it is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/container.h"
#include "base/mem.h"

#define REQUEST_MS 5000
#define BODY_BYTES_MAX (LIMIT_SNAPSHOT_PIECE_BYTES + 1024)

/* What the reading thread makes of the bytes that have come. */
struct reading {
    struct storage_job job;
    struct group *group;
    struct buf bytes;
    size_t at;
    struct catalog_image *image;
    enum err err;
    struct err_text text;
};

struct heal {
    struct group *group;
    struct loop_timer timer;
    struct rpc_request request;
    bool asking, reading_busy;
    uint64_t index; /* of the snapshot that comes; 0: not known yet */
    struct buf bytes;
    struct catalog_image *image; /* waits until its index may be applied */
    struct reading reading;
};

static void again(struct heal *heal, int64_t ms) {
    loop_timer_start(heal->group->config.loop, &heal->timer,
                     loop_now_ms(heal->group->config.loop) + ms);
}

static void forget(struct heal *heal) {
    buf_clear(&heal->bytes);
    buf_init(&heal->bytes, LIMIT_RAFT_SNAPSHOT_BYTES);
    catalog_drop_image(heal->image);
    heal->image = NULL;
    heal->index = 0;
}

/* ---- the end ---- */

static void unfence(struct group *group) {
    group->fenced = false;
    group->snapshot_wanted = true; /* one of this server's own may hold the wrong rows */
    forget(group->heal);
    loop_timer_stop(group->config.loop, &group->heal->timer);
    if (!group->applying_failed) {
        struct raft_event event = {.kind = RAFT_EVENT_MAY_LEAD, .may_lead = {.may = true}};
        group_step(group, &event);
    }
    group->config.published(group->config.context);
    group_reads_applied(group);
    group_post_apply(group);
}

void group_heal_look(struct group *group) {
    struct heal *heal = group->heal;
    if (!group->fenced || group->entry_begun) {
        return;
    }
    if (heal->image == NULL || heal->index > group->apply_to) {
        return;
    }
    if (heal->index < group->applied) { /* entries were applied after all */
        forget(heal);
        again(heal, 0);
        return;
    }
    uint64_t index = heal->index;
    struct catalog_image *image = heal->image;
    heal->image = NULL;
    catalog_take_image(group->config.catalog, image);
    group_skip_to(group, index);
    group_check_reset(group);
    log_write(group->config.log, LOG_WARN, MODULE,
              "the rows are replaced by the leader's: index=%" PRIu64, index);
    unfence(group);
}

/* Another snapshot was installed meanwhile. */
void group_heal_installed(struct group *group) {
    if (group->fenced) {
        unfence(group);
    }
}

/* ---- reading thread ---- */

static int64_t read_bytes(void *context, void *data, size_t size) {
    struct reading *reading = context;
    size_t left = reading->bytes.count - reading->at;
    size = size < left ? size : left;
    memcpy(data, reading->bytes.data + reading->at, size);
    reading->at += size;
    return (int64_t)size;
}

static void read_image(struct storage_job *job) {
    struct reading *reading = CONTAINER_OF(job, struct reading, job);
    reading->err = catalog_read_image(read_bytes, reading, &reading->image, &reading->text);
}

static void image_back(struct storage_job *job) {
    struct reading *reading = CONTAINER_OF(job, struct reading, job);
    struct group *group = reading->group;
    struct heal *heal = group->heal;
    heal->reading_busy = false;
    buf_clear(&reading->bytes);
    if (reading->err != ERR_OK) {
        log_write(group->config.log, LOG_ERROR, MODULE,
                  "cannot read the leader's snapshot: error=\"%s\"", reading->text.s);
        forget(heal);
    } else if (!group->fenced || group->closing) {
        catalog_drop_image(reading->image);
    } else {
        heal->image = reading->image;
        group_heal_look(group);
    }
    reading->image = NULL;
}

static void start_reading(struct heal *heal) {
    struct reading *reading = &heal->reading;
    *reading = (struct reading){.group = heal->group, .bytes = heal->bytes};
    buf_init(&heal->bytes, LIMIT_RAFT_SNAPSHOT_BYTES);
    reading->job.run = read_image;
    reading->job.done = image_back;
    heal->reading_busy = true;
    storage_run(heal->group->storage, &reading->job);
}

/* ---- pieces ---- */

struct arrival {
    struct heal *heal;
    bool fits, done;
};

static void take_piece(void *context, const struct group_wire_piece *piece) {
    struct arrival *arrival = context;
    struct heal *heal = arrival->heal;
    arrival->done = piece->done;
    arrival->fits = piece->index > 0 && (heal->index == 0 || heal->index == piece->index) &&
                    (piece->size > 0 || piece->done);
    if (arrival->fits) {
        heal->index = piece->index;
        buf_append(&heal->bytes, piece->data, piece->size);
        arrival->fits = !heal->bytes.failed;
    }
}

static void piece_arrived(struct rpc_request *request, enum err err, const struct err_text *text,
                          const uint8_t *body, size_t size) {
    struct heal *heal = CONTAINER_OF(request, struct heal, request);
    struct arrival arrival = {.heal = heal};
    (void)text;
    heal->asking = false;
    if (!heal->group->fenced) {
        return;
    }
    if (err == ERR_OK) {
        group_wire_unpack_piece(body, size, take_piece, &arrival);
    }
    if (!arrival.fits) { /* another leader, another snapshot */
        forget(heal);
    } else if (arrival.done) {
        start_reading(heal);
    }
    again(heal, arrival.fits && !arrival.done ? 0 : LIMIT_HEAL_RETRY_MS);
}

static void tick(struct loop_timer *timer) {
    struct heal *heal = CONTAINER_OF(timer, struct heal, timer);
    struct group *group = heal->group;
    struct buf body;
    if (!group->fenced || group->closing) {
        return;
    }
    group_expire_reads(group);
    again(heal, LIMIT_HEAL_RETRY_MS);
    if (heal->asking || heal->reading_busy || heal->image != NULL) {
        group_heal_look(group);
        return;
    }
    struct rpc_connection *leader = group_leader_connection(group);
    if (leader == NULL || group->entry_begun) {
        return;
    }
    const struct group_wire_image wanted = {
        .least = group->applied, .index = heal->index, .offset = heal->bytes.count};
    buf_init(&body, BODY_BYTES_MAX);
    group_wire_pack_image(&wanted, &body);
    heal->request.done = piece_arrived;
    heal->asking = rpc_request(leader, &heal->request, RPC_METHOD_IMAGE, body.data, body.count,
                               REQUEST_MS) == ERR_OK;
    buf_clear(&body);
}

/* ---- the leader ---- */

struct serving {
    struct storage_job job;
    struct group *group;
    struct rpc_ticket ticket;
    uint64_t index, offset;
    uint8_t *piece;
    size_t size;
    bool done;
    enum err err;
    struct err_text text;
};

static void serve_read(struct storage_job *job) {
    struct serving *serving = CONTAINER_OF(job, struct serving, job);
    serving->err =
        storage_read_snapshot(serving->group->storage, serving->index, serving->offset,
                              serving->piece, &serving->size, &serving->done, &serving->text);
}

static void serve_back(struct storage_job *job) {
    struct serving *serving = CONTAINER_OF(job, struct serving, job);
    struct group *group = serving->group;
    if (!group->closing && serving->err == ERR_OK) {
        const struct group_wire_piece piece = {serving->index, serving->done, serving->piece,
                                               serving->size};
        struct buf body;
        buf_init(&body, BODY_BYTES_MAX);
        group_wire_pack_piece(&piece, &body);
        rpc_answer(group->rpc, serving->ticket, ERR_OK, NULL, body.data, body.count);
        buf_clear(&body);
    } else if (!group->closing) {
        rpc_answer(group->rpc, serving->ticket, serving->err, &serving->text, NULL, 0);
    }
    free(serving->piece);
    free(serving);
}

static void on_image(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                     const uint8_t *body, size_t size) {
    static const struct err_text later = {"not the leader, or its snapshot is not there yet"};
    struct group *group = context;
    struct raft_status status;
    struct group_wire_image wanted;
    raft_get_status(group->raft, &status);
    bool ours = group_wire_unpack_image(body, size, &wanted) &&
                group_is_ours(group, rpc_peer(from)) && group_leads(group) && !group->fenced &&
                group->storage != NULL && !group->closing;
    if (ours && (status.snapshot_index == 0 || status.snapshot_index < wanted.least)) {
        group->snapshot_wanted = true;
        group_maybe_snapshot(group);
        ours = false;
    }
    if (!ours) {
        rpc_answer(group->rpc, ticket, ERR_NOT_FOUND, &later, NULL, 0);
    } else {
        struct serving *serving = mem_calloc(1, sizeof *serving);
        serving->group = group;
        serving->ticket = ticket;
        serving->index = wanted.index > 0 ? wanted.index : status.snapshot_index;
        serving->offset = wanted.offset;
        serving->piece = mem_alloc(LIMIT_SNAPSHOT_PIECE_BYTES);
        serving->job.run = serve_read;
        serving->job.done = serve_back;
        storage_run(group->storage, &serving->job);
    }
}

/* ---- life ---- */

void group_heal_init(struct group *group) {
    group->heal = mem_calloc(1, sizeof *group->heal);
    group->heal->group = group;
    group->heal->timer.run = tick;
    buf_init(&group->heal->bytes, LIMIT_RAFT_SNAPSHOT_BYTES);
}

void group_heal_serve(struct group *group) {
    static const struct rpc_service service = {.request = on_image};
    rpc_serve(group->rpc, RPC_METHOD_IMAGE, &service, group);
}

void group_heal_start(struct group *group) {
    forget(group->heal);
    again(group->heal, 0);
}

void group_heal_stop(struct group *group) {
    loop_timer_stop(group->config.loop, &group->heal->timer);
    rpc_request_cancel(&group->heal->request);
}

void group_heal_clear(struct group *group) {
    forget(group->heal);
    buf_clear(&group->heal->bytes);
    buf_clear(&group->heal->reading.bytes);
    free(group->heal);
    group->heal = NULL;
}
