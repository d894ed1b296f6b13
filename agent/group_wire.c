/* The bytes of the group's own questions between servers. */
#include <stdlib.h>

#include "agent/group_internal.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

size_t group_wire_pack_read(bool consistent, uint64_t index, uint8_t out[GROUP_READ_BYTES_MAX]) {
    Pb__RpcReadIndex message = PB__RPC_READ_INDEX__INIT;
    message.consistent = consistent;
    message.index = index;
    return pb__rpc_read_index__pack(&message, out);
}

bool group_wire_unpack_read(const uint8_t *data, size_t size, bool *ret_consistent,
                            uint64_t *ret_index) {
    Pb__RpcReadIndex *message = pb__rpc_read_index__unpack(NULL, size, data);
    if (message == NULL) {
        return false;
    }
    *ret_consistent = message->consistent;
    *ret_index = message->index;
    pb__rpc_read_index__free_unpacked(message, NULL);
    return true;
}

static void pack(const ProtobufCMessage *message, struct buf *out) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = mem_alloc(size + 1);
    protobuf_c_message_pack(message, bytes);
    buf_append(out, bytes, size);
    free(bytes);
}

void group_wire_pack_check(const struct group_wire_check *check, struct buf *out) {
    Pb__RpcCheck message = PB__RPC_CHECK__INIT;
    message.level = check->level;
    message.diverged = check->diverged;
    message.index = check->sample.index;
    message.hash = check->sample.hash;
    pack(&message.base, out);
}

bool group_wire_unpack_check(const uint8_t *data, size_t size, struct group_wire_check *ret) {
    Pb__RpcCheck *message = pb__rpc_check__unpack(NULL, size, data);
    if (message != NULL) {
        *ret = (struct group_wire_check){.level = message->level,
                                         .diverged = message->diverged,
                                         .sample = {message->index, message->hash}};
        pb__rpc_check__free_unpacked(message, NULL);
    }
    return message != NULL;
}

void group_wire_pack_samples(const struct group_wire_samples *samples, struct buf *out) {
    uint64_t indexes[GROUP_SAMPLES_TOLD], hashes[GROUP_SAMPLES_TOLD];
    Pb__RpcCheckAnswer message = PB__RPC_CHECK_ANSWER__INIT;
    for (uint32_t i = 0; i < samples->count; i++) {
        indexes[i] = samples->v[i].index;
        hashes[i] = samples->v[i].hash;
    }
    message.level = samples->level;
    message.n_indexes = message.n_hashes = samples->count;
    message.indexes = indexes;
    message.hashes = hashes;
    pack(&message.base, out);
}

bool group_wire_unpack_samples(const uint8_t *data, size_t size, struct group_wire_samples *ret) {
    Pb__RpcCheckAnswer *message = pb__rpc_check_answer__unpack(NULL, size, data);
    bool good = message != NULL && message->n_indexes == message->n_hashes &&
                message->n_indexes <= GROUP_SAMPLES_TOLD;
    if (good) {
        *ret = (struct group_wire_samples){.level = message->level,
                                           .count = (uint32_t)message->n_indexes};
        for (uint32_t i = 0; i < ret->count; i++) {
            ret->v[i] = (struct group_sample){message->indexes[i], message->hashes[i]};
        }
    }
    pb__rpc_check_answer__free_unpacked(message, NULL);
    return good;
}

void group_wire_pack_image(const struct group_wire_image *image, struct buf *out) {
    Pb__RpcImage message = PB__RPC_IMAGE__INIT;
    message.least = image->least;
    message.index = image->index;
    message.offset = image->offset;
    pack(&message.base, out);
}

bool group_wire_unpack_image(const uint8_t *data, size_t size, struct group_wire_image *ret) {
    Pb__RpcImage *message = pb__rpc_image__unpack(NULL, size, data);
    if (message != NULL) {
        *ret = (struct group_wire_image){message->least, message->index, message->offset};
        pb__rpc_image__free_unpacked(message, NULL);
    }
    return message != NULL;
}

void group_wire_pack_piece(const struct group_wire_piece *piece, struct buf *out) {
    Pb__RpcImageAnswer message = PB__RPC_IMAGE_ANSWER__INIT;
    message.index = piece->index;
    message.done = piece->done;
    message.piece =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)piece->data, .len = piece->size};
    pack(&message.base, out);
}

bool group_wire_unpack_piece(const uint8_t *data, size_t size,
                             void (*take)(void *context, const struct group_wire_piece *piece),
                             void *context) {
    Pb__RpcImageAnswer *message = pb__rpc_image_answer__unpack(NULL, size, data);
    if (message != NULL) {
        struct group_wire_piece piece = {message->index, message->done, message->piece.data,
                                         message->piece.len};
        take(context, &piece);
        pb__rpc_image_answer__free_unpacked(message, NULL);
    }
    return message != NULL;
}
