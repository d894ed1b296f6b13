/* Frames: the head by protobuf, the payloads by reference. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "proto/raft.pb-c.h"
#include "raft/internal.h"

#define LENGTH_BYTES 4
#define ID_BYTES 16

/* ---- encode ---- */

static ProtobufCBinaryData bytes_of(const void *data, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

static Pb__RaftId put_id(const struct raft_id *id) {
    Pb__RaftId pb;
    pb__raft_id__init(&pb);
    pb.node = bytes_of(id->node.bytes, ID_BYTES);
    pb.disk = bytes_of(id->disk.bytes, ID_BYTES);
    return pb;
}

static void pack(Pb__RaftMessage *pb, const struct raft_message *m, struct buf *out) {
    Pb__RaftId from = put_id(&m->from), to = put_id(&m->to);
    pb->from = &from;
    pb->to = &to;
    pb->term = m->term;
    size_t size = pb__raft_message__get_packed_size(pb);
    char *at = buf_reserve(out, LENGTH_BYTES + size);
    if (at == NULL) {
        return;
    }
    for (int i = 0; i < LENGTH_BYTES; i++) {
        at[i] = (char)(size >> (8 * i));
    }
    out->count += LENGTH_BYTES + pb__raft_message__pack(pb, (uint8_t *)at + LENGTH_BYTES);
}

static void encode_vote(const struct raft_message *m, Pb__RaftMessage *pb, struct buf *out) {
    Pb__RaftVoteRequest request;
    Pb__RaftVoteAnswer answer;
    if (m->kind == RAFT_MESSAGE_VOTE_REQUEST) {
        pb__raft_vote_request__init(&request);
        request.last_index = m->vote_request.last_index;
        request.last_term = m->vote_request.last_term;
        request.pre_vote = m->vote_request.pre_vote;
        request.transfer = m->vote_request.transfer;
        pb->body_case = PB__RAFT_MESSAGE__BODY_VOTE_REQUEST;
        pb->vote_request = &request;
    } else {
        pb__raft_vote_answer__init(&answer);
        answer.pre_vote = m->vote_answer.pre_vote;
        answer.granted = m->vote_answer.granted;
        pb->body_case = PB__RAFT_MESSAGE__BODY_VOTE_ANSWER;
        pb->vote_answer = &answer;
    }
    pack(pb, m, out);
}

static void encode_append(const struct raft_message *m, const struct raft_entry_head *entries,
                          Pb__RaftMessage *pb, struct buf *out) {
    Pb__RaftAppend append;
    uint32_t count = m->append.count;
    ASSERT(count == 0 || entries != NULL);
    uint32_t *sizes = mem_alloc((count + 1) * sizeof *sizes);
    uint8_t *kinds = mem_alloc(count + 1);
    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = entries[i].size;
        kinds[i] = (uint8_t)entries[i].kind;
    }
    pb__raft_append__init(&append);
    append.prev_index = m->append.prev_index;
    append.prev_term = m->append.prev_term;
    append.entry_term = m->append.entry_term;
    append.commit = m->append.commit;
    append.round = m->append.round;
    append.sent_at_ms = m->append.sent_at_ms;
    append.repair_to = m->append.repair_to;
    append.repair_life = m->append.repair_life;
    append.n_sizes = count;
    append.sizes = sizes;
    append.kinds = bytes_of(kinds, count);
    pb->body_case = PB__RAFT_MESSAGE__BODY_APPEND;
    pb->append = &append;
    pack(pb, m, out);
    free(sizes);
    free(kinds);
}

static void encode_append_answer(const struct raft_message *m, Pb__RaftMessage *pb,
                                 struct buf *out) {
    Pb__RaftAppendAnswer answer;
    pb__raft_append_answer__init(&answer);
    answer.success = m->append_answer.success;
    answer.repairing = m->append_answer.repairing;
    answer.life = m->append_answer.life;
    answer.match = m->append_answer.match;
    answer.rejected = m->append_answer.rejected;
    answer.hint_index = m->append_answer.hint_index;
    answer.hint_term = m->append_answer.hint_term;
    answer.round = m->append_answer.round;
    answer.sent_at_ms = m->append_answer.sent_at_ms;
    pb->body_case = PB__RAFT_MESSAGE__BODY_APPEND_ANSWER;
    pb->append_answer = &answer;
    pack(pb, m, out);
}

static void encode_snapshot(const struct raft_message *m, Pb__RaftMessage *pb, struct buf *out) {
    Pb__RaftSnapshot snapshot;
    struct buf configuration;
    buf_init(&configuration, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(m->snapshot.configuration, &configuration);
    pb__raft_snapshot__init(&snapshot);
    snapshot.index = m->snapshot.index;
    snapshot.term = m->snapshot.term;
    snapshot.offset = m->snapshot.offset;
    snapshot.bytes = m->snapshot.bytes;
    snapshot.done = m->snapshot.done;
    snapshot.configuration_index = m->snapshot.configuration_index;
    snapshot.configuration = bytes_of(configuration.data, configuration.count);
    pb->body_case = PB__RAFT_MESSAGE__BODY_SNAPSHOT;
    pb->snapshot = &snapshot;
    pack(pb, m, out);
    buf_clear(&configuration);
}

static void encode_rest(const struct raft_message *m, Pb__RaftMessage *pb, struct buf *out) {
    Pb__RaftSnapshotAnswer answer;
    Pb__RaftTimeoutNow timeout_now;
    if (m->kind == RAFT_MESSAGE_SNAPSHOT_ANSWER) {
        pb__raft_snapshot_answer__init(&answer);
        answer.index = m->snapshot_answer.index;
        answer.term = m->snapshot_answer.term;
        answer.offset = m->snapshot_answer.offset;
        pb->body_case = PB__RAFT_MESSAGE__BODY_SNAPSHOT_ANSWER;
        pb->snapshot_answer = &answer;
    } else {
        ASSERT(m->kind == RAFT_MESSAGE_TIMEOUT_NOW);
        pb__raft_timeout_now__init(&timeout_now);
        pb->body_case = PB__RAFT_MESSAGE__BODY_TIMEOUT_NOW;
        pb->timeout_now = &timeout_now;
    }
    pack(pb, m, out);
}

void raft_message_encode(const struct raft_message *message, const struct raft_entry_head *entries,
                         struct buf *out) {
    Pb__RaftMessage pb;
    pb__raft_message__init(&pb);
    switch (message->kind) {
    case RAFT_MESSAGE_VOTE_REQUEST:
    case RAFT_MESSAGE_VOTE_ANSWER:
        encode_vote(message, &pb, out);
        return;
    case RAFT_MESSAGE_APPEND:
        encode_append(message, entries, &pb, out);
        return;
    case RAFT_MESSAGE_APPEND_ANSWER:
        encode_append_answer(message, &pb, out);
        return;
    case RAFT_MESSAGE_SNAPSHOT:
        encode_snapshot(message, &pb, out);
        return;
    case RAFT_MESSAGE_SNAPSHOT_ANSWER:
    case RAFT_MESSAGE_TIMEOUT_NOW:
        encode_rest(message, &pb, out);
        return;
    }
}

/* ---- decode ---- */

static bool get_id(const Pb__RaftId *pb, struct raft_id *ret_id) {
    if (pb == NULL || pb->node.len != ID_BYTES || pb->disk.len != ID_BYTES) {
        return false;
    }
    memcpy(ret_id->node.bytes, pb->node.data, ID_BYTES);
    memcpy(ret_id->disk.bytes, pb->disk.data, ID_BYTES);
    return true;
}

static enum err get_append(const Pb__RaftAppend *pb, struct raft_decoded *decoded) {
    struct raft_message *m = &decoded->message;
    if (pb->n_sizes > LIMIT_RAFT_APPEND_ENTRIES || pb->kinds.len != pb->n_sizes) {
        return ERR_CORRUPT;
    }
    m->kind = RAFT_MESSAGE_APPEND;
    m->append.prev_index = pb->prev_index;
    m->append.prev_term = pb->prev_term;
    m->append.entry_term = pb->entry_term;
    m->append.count = (uint32_t)pb->n_sizes;
    m->append.commit = pb->commit;
    m->append.round = pb->round;
    m->append.sent_at_ms = pb->sent_at_ms;
    m->append.repair_to = pb->repair_to;
    m->append.repair_life = pb->repair_life;
    uint64_t total = 0;
    for (size_t i = 0; i < pb->n_sizes; i++) {
        if (pb->sizes[i] > LIMIT_ENTRY_BYTES || pb->kinds.data[i] < RAFT_ENTRY_NO_OP) {
            return ERR_CORRUPT;
        }
        if (pb->kinds.data[i] > RAFT_ENTRY_COMMAND) {
            return ERR_VERSION;
        }
        total += pb->sizes[i];
    }
    if (total != decoded->payload_size) {
        return ERR_CORRUPT;
    }
    if (pb->n_sizes > 0) {
        decoded->entries = mem_alloc(pb->n_sizes * sizeof *decoded->entries);
    }
    for (size_t i = 0; i < pb->n_sizes; i++) {
        decoded->entries[i] = (struct raft_entry_head){
            .kind = (enum raft_entry_kind)pb->kinds.data[i], .size = pb->sizes[i]};
    }
    return ERR_OK;
}

static void get_append_answer(const Pb__RaftAppendAnswer *pb, struct raft_message *m) {
    m->kind = RAFT_MESSAGE_APPEND_ANSWER;
    m->append_answer.success = pb->success;
    m->append_answer.repairing = pb->repairing;
    m->append_answer.life = pb->life;
    m->append_answer.match = pb->match;
    m->append_answer.rejected = pb->rejected;
    m->append_answer.hint_index = pb->hint_index;
    m->append_answer.hint_term = pb->hint_term;
    m->append_answer.round = pb->round;
    m->append_answer.sent_at_ms = pb->sent_at_ms;
}

static enum err get_snapshot(const Pb__RaftSnapshot *pb, struct raft_decoded *decoded) {
    struct raft_message *m = &decoded->message;
    if (pb->bytes != decoded->payload_size || pb->bytes > LIMIT_SNAPSHOT_PIECE_BYTES) {
        return ERR_CORRUPT;
    }
    m->kind = RAFT_MESSAGE_SNAPSHOT;
    m->snapshot.index = pb->index;
    m->snapshot.term = pb->term;
    m->snapshot.offset = pb->offset;
    m->snapshot.bytes = pb->bytes;
    m->snapshot.done = pb->done;
    m->snapshot.configuration_index = pb->configuration_index;
    m->snapshot.configuration = &decoded->configuration;
    return raft_configuration_decode(pb->configuration.data, pb->configuration.len,
                                     &decoded->configuration);
}

static void get_vote(const Pb__RaftMessage *pb, struct raft_message *m) {
    if (pb->body_case == PB__RAFT_MESSAGE__BODY_VOTE_REQUEST) {
        m->kind = RAFT_MESSAGE_VOTE_REQUEST;
        m->vote_request.last_index = pb->vote_request->last_index;
        m->vote_request.last_term = pb->vote_request->last_term;
        m->vote_request.pre_vote = pb->vote_request->pre_vote;
        m->vote_request.transfer = pb->vote_request->transfer;
    } else {
        m->kind = RAFT_MESSAGE_VOTE_ANSWER;
        m->vote_answer.pre_vote = pb->vote_answer->pre_vote;
        m->vote_answer.granted = pb->vote_answer->granted;
    }
}

static enum err get_message(const Pb__RaftMessage *pb, struct raft_decoded *decoded) {
    struct raft_message *m = &decoded->message;
    bool carries = pb->body_case == PB__RAFT_MESSAGE__BODY_APPEND ||
                   pb->body_case == PB__RAFT_MESSAGE__BODY_SNAPSHOT;
    if (!get_id(pb->from, &m->from) || !get_id(pb->to, &m->to)) {
        return ERR_CORRUPT;
    }
    m->term = pb->term;
    if (pb->body_case == PB__RAFT_MESSAGE__BODY__NOT_SET) {
        return pb->base.n_unknown_fields > 0 ? ERR_VERSION : ERR_CORRUPT;
    }
    if (!carries && decoded->payload_size > 0) {
        return ERR_CORRUPT;
    }
    switch (pb->body_case) {
    case PB__RAFT_MESSAGE__BODY_VOTE_REQUEST:
    case PB__RAFT_MESSAGE__BODY_VOTE_ANSWER:
        get_vote(pb, m);
        return ERR_OK;
    case PB__RAFT_MESSAGE__BODY_APPEND:
        return get_append(pb->append, decoded);
    case PB__RAFT_MESSAGE__BODY_APPEND_ANSWER:
        get_append_answer(pb->append_answer, m);
        return ERR_OK;
    case PB__RAFT_MESSAGE__BODY_SNAPSHOT:
        return get_snapshot(pb->snapshot, decoded);
    case PB__RAFT_MESSAGE__BODY_SNAPSHOT_ANSWER:
        m->kind = RAFT_MESSAGE_SNAPSHOT_ANSWER;
        m->snapshot_answer.index = pb->snapshot_answer->index;
        m->snapshot_answer.term = pb->snapshot_answer->term;
        m->snapshot_answer.offset = pb->snapshot_answer->offset;
        return ERR_OK;
    case PB__RAFT_MESSAGE__BODY_TIMEOUT_NOW:
        m->kind = RAFT_MESSAGE_TIMEOUT_NOW;
        return ERR_OK;
    default:
        return ERR_VERSION;
    }
}

enum err raft_message_decode(const void *frame, size_t size, struct raft_decoded *ret_decoded) {
    const uint8_t *at = frame;
    struct raft_decoded decoded = {0};
    if (size < LENGTH_BYTES) {
        return ERR_CORRUPT;
    }
    size_t head = (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    if (head > LIMIT_RAFT_MESSAGE_HEAD_BYTES || head > size - LENGTH_BYTES) {
        return ERR_CORRUPT;
    }
    Pb__RaftMessage *pb = pb__raft_message__unpack(NULL, head, at + LENGTH_BYTES);
    if (pb == NULL) {
        return ERR_CORRUPT;
    }
    decoded.payload = at + LENGTH_BYTES + head;
    decoded.payload_size = size - LENGTH_BYTES - head;
    enum err err = get_message(pb, &decoded);
    pb__raft_message__free_unpacked(pb, NULL);
    if (err != ERR_OK) {
        raft_decoded_clear(&decoded);
        return err;
    }
    *ret_decoded = decoded;
    if (decoded.message.kind == RAFT_MESSAGE_SNAPSHOT) {
        ret_decoded->message.snapshot.configuration = &ret_decoded->configuration;
    }
    return ERR_OK;
}

void raft_decoded_clear(struct raft_decoded *decoded) {
    free(decoded->entries);
    decoded->entries = NULL;
}
