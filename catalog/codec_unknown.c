#include "catalog/codec_unknown.h"

#include <string.h>

/* There is no field 0. protobuf-c reads one if its tag is longer than it need be, and refuses the
 * short form in which it would be written. */
static bool is_kept(const ProtobufCMessageUnknownField *field) {
    return field->tag != 0;
}

struct catalog_bytes codec_take_unknown(const ProtobufCMessage *message, struct arena *arena) {
    size_t size = 0;
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        if (is_kept(&message->unknown_fields[i])) {
            size += 3 * sizeof(uint32_t) + message->unknown_fields[i].len;
        }
    }
    if (size == 0 || size > UINT32_MAX) {
        return (struct catalog_bytes){0};
    }
    uint8_t *data = arena_alloc(arena, size), *at = data;
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        uint32_t head[3] = {field->tag, (uint32_t)field->wire_type, (uint32_t)field->len};
        if (!is_kept(field)) {
            continue;
        }
        memcpy(at, head, sizeof head);
        memcpy(at + sizeof head, field->data, field->len);
        at += sizeof head + field->len;
    }
    return (struct catalog_bytes){.data = data, .size = (uint32_t)size};
}

void codec_give_unknown(ProtobufCMessage *message, const struct catalog_bytes *bytes,
                        struct arena *arena) {
    unsigned count = 0;
    uint32_t head[3];
    for (uint32_t at = 0; at < bytes->size; at += (uint32_t)sizeof head + head[2]) {
        memcpy(head, bytes->data + at, sizeof head);
        count++;
    }
    if (count == 0) {
        return;
    }
    ProtobufCMessageUnknownField *fields = arena_alloc(arena, count * sizeof *fields);
    uint32_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(head, bytes->data + at, sizeof head);
        uint8_t *data = arena_alloc(arena, head[2]);
        memcpy(data, bytes->data + at + sizeof head, head[2]);
        fields[i] = (ProtobufCMessageUnknownField){
            .tag = head[0], .wire_type = (ProtobufCWireType)head[1], .len = head[2], .data = data};
        at += (uint32_t)sizeof head + head[2];
    }
    message->unknown_fields = fields;
    message->n_unknown_fields = count;
}
