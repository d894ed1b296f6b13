/* Reads from the disk, on a thread of its own, what a peer lags behind by: entries that have left
 * the tail, or pieces of the newest snapshot. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

struct feed {
    struct storage_job job;
    struct peer *peer;
    struct outgoing *outgoing;
    struct buf frame;
    enum err err;
    struct err_text text;
};

/* ---- on the reading thread ---- */

struct gathering {
    const struct raft_message *message;
    struct raft_entry_head *heads;
    struct buf payload;
    uint32_t count;
    bool wrong; /* entries of another term: cut off since */
};

static void gather(void *context, const struct store_entry *entry) {
    struct gathering *gathering = context;
    if (entry->term != gathering->message->append.entry_term ||
        gathering->count == gathering->message->append.count) {
        gathering->wrong = true;
        return;
    }
    gathering->heads[gathering->count++] =
        (struct raft_entry_head){.kind = (enum raft_entry_kind)entry->kind, .size = entry->size};
    buf_append(&gathering->payload, entry->payload, entry->size);
}

static void read_entries(struct feed *feed) {
    const struct raft_message *message = &feed->outgoing->message;
    struct gathering gathering = {
        .message = message,
        .heads = mem_alloc(message->append.count * sizeof(struct raft_entry_head))};
    buf_init(&gathering.payload, LIMIT_RPC_FRAME_BYTES);
    uint64_t first = message->append.prev_index + 1;
    feed->err = storage_read(feed->peer->group->storage, first, first + message->append.count - 1,
                             gather, &gathering, &feed->text);
    if (feed->err == ERR_OK && (gathering.wrong || gathering.count < message->append.count)) {
        feed->err = err_set(&feed->text, ERR_NOT_FOUND, "entries were cut off");
    }
    if (feed->err == ERR_OK) {
        raft_message_encode(message, gathering.heads, &feed->frame);
        buf_append(&feed->frame, gathering.payload.data, gathering.payload.count);
    }
    free(gathering.heads);
    buf_clear(&gathering.payload);
}

static void read_piece(struct feed *feed) {
    struct raft_message *message = &feed->outgoing->message;
    uint8_t *piece = mem_alloc(LIMIT_SNAPSHOT_PIECE_BYTES);
    size_t size = 0;
    bool done = false;
    feed->err = storage_read_snapshot(feed->peer->group->storage, message->snapshot.index,
                                      message->snapshot.offset, piece, &size, &done, &feed->text);
    if (feed->err == ERR_OK) {
        message->snapshot.bytes = (uint32_t)size;
        message->snapshot.done = done;
        raft_message_encode(message, NULL, &feed->frame);
        buf_append(&feed->frame, piece, size);
    }
    free(piece);
}

static void run(struct storage_job *job) {
    struct feed *feed = CONTAINER_OF(job, struct feed, job);
    if (feed->outgoing->message.kind == RAFT_MESSAGE_SNAPSHOT) {
        read_piece(feed);
    } else {
        read_entries(feed);
    }
}

/* ---- on the core's thread ---- */

static void send_frame(struct feed *feed) {
    struct peer *peer = feed->peer;
    struct rpc_connection *connection =
        peer->client != NULL ? rpc_client_connection(peer->client) : NULL;
    if (connection == NULL || feed->frame.failed ||
        rpc_send(connection, RPC_METHOD_RAFT, feed->frame.data, feed->frame.count) != ERR_OK) {
        peer->group->messages_dropped++;
    }
}

static void note_failure(struct feed *feed) {
    struct group *group = feed->peer->group;
    bool snapshot = feed->outgoing->message.kind == RAFT_MESSAGE_SNAPSHOT;
    group->messages_dropped++;
    if (feed->err != ERR_NOT_FOUND) {
        log_write(group->config.log, LOG_ERROR, MODULE, "cannot read %s for %s: error=\"%s\"",
                  snapshot ? "the snapshot" : "entries", feed->peer->server.name, feed->text.s);
    }
    if (snapshot) {
        struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_GONE,
                                   .snapshot_gone = {.id = feed->peer->server.id}};
        group_step(group, &event);
    }
}

static void back(struct storage_job *job) {
    struct feed *feed = CONTAINER_OF(job, struct feed, job);
    struct peer *peer = feed->peer;
    struct group *group = peer->group;
    peer->feed = NULL;
    if (peer->gone) {
        free(peer);
    } else if (!group->closing) {
        if (feed->err == ERR_OK) {
            send_frame(feed);
        } else {
            note_failure(feed);
        }
        group_pump(peer);
    }
    buf_clear(&feed->frame);
    free(feed->outgoing);
    free(feed);
}

void group_feed(struct peer *peer, struct outgoing *outgoing) {
    struct feed *feed = mem_calloc(1, sizeof *feed);
    feed->peer = peer;
    feed->outgoing = outgoing;
    buf_init(&feed->frame, LIMIT_RPC_FRAME_BYTES);
    feed->job.run = run;
    feed->job.done = back;
    peer->feed = feed;
    storage_run(peer->group->storage, &feed->job);
}
