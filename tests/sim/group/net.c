/* Messages on their way: dropped, delayed, repeated, overtaken. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "tests/sim/group/group.h"

#define FRAME_BYTES_MAX (64 * 1024 * 1024)

static struct server *find(struct world *world, const struct raft_id *id) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (raft_id_equal(&world->servers[i].id, id)) {
            return &world->servers[i];
        }
    }
    return NULL; /* of a disk that is gone */
}

static struct raft_event about(enum raft_event_kind kind, const struct raft_id *id) {
    struct raft_event event = {.kind = kind};
    event.unreachable.id = *id;
    return event;
}

/* The entries that the message names, from memory. */
static void add_entries(struct server *server, const struct raft_message *m, struct buf *frame) {
    struct raft_entry_head *heads = mem_calloc(m->append.count + 1, sizeof *heads);
    uint64_t first = m->append.prev_index + 1;
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct held *held = &server->held[first + i];
        if (held->term != m->append.entry_term) {
            world_fail(server->world, "%c sends entry %lu of term %lu, which it does not have",
                       server->letter, first + i, m->append.entry_term);
        }
        heads[i] = (struct raft_entry_head){(enum raft_entry_kind)held->kind, held->size};
    }
    raft_message_encode(m, heads, frame);
    for (uint32_t i = 0; i < m->append.count; i++) {
        buf_append(frame, server->held[first + i].payload, heads[i].size);
    }
    free(heads);
}

static bool add_piece(struct server *server, struct raft_message *m, struct buf *frame) {
    uint8_t piece[PIECE_BYTES];
    if (!storage_read_piece(server, m->snapshot.index, m->snapshot.offset, piece,
                            &m->snapshot.bytes, &m->snapshot.done)) {
        return false;
    }
    raft_message_encode(m, NULL, frame);
    buf_append(frame, piece, m->snapshot.bytes);
    return true;
}

static void deliver_later(struct world *world, struct server *to, const struct link *link,
                          const struct buf *frame) {
    uint64_t delay = link->delay_us + rand_below(&world->rand, link->jitter_us + 1);
    struct event *event = world_post(world, delay, EVENT_MESSAGE, to);
    event->data = mem_memdup(frame->data, frame->count);
    event->size = frame->count;
    world->messages++;
}

void net_send(struct server *server, const struct raft_message *message) {
    struct world *world = server->world;
    struct raft_message m = *message;
    struct server *to = find(world, &m.to);
    struct buf frame;
    check_vote(server, &m);
    buf_init(&frame, FRAME_BYTES_MAX);
    bool whole = true;
    if (m.kind == RAFT_MESSAGE_APPEND && m.append.count > 0) {
        add_entries(server, &m, &frame);
    } else if (m.kind == RAFT_MESSAGE_SNAPSHOT) {
        whole = add_piece(server, &m, &frame);
    } else {
        raft_message_encode(&m, NULL, &frame);
    }
    if (!whole) {
        world_post(world, 100, EVENT_UNREACHABLE, server)->report =
            about(RAFT_EVENT_SNAPSHOT_GONE, &m.to);
    } else if (to != NULL && !frame.failed) {
        const struct link *link = &world->links[server->at][to->at];
        bool lost = link->cut || !to->up || rand_below(&world->rand, 1000) < link->drop_per_1000;
        if (!lost) {
            deliver_later(world, to, link, &frame);
        } else if (world_one_in(world, 8)) {
            world_post(world, 1000, EVENT_UNREACHABLE, server)->report =
                about(RAFT_EVENT_UNREACHABLE, &m.to);
        }
        if (!lost && rand_below(&world->rand, 1000) < link->duplicate_per_1000) {
            deliver_later(world, to, link, &frame);
        }
    }
    buf_clear(&frame);
}
