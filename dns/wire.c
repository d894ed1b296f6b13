#include "dns/wire.h"

#define POINTER_MASK 0xc0
#define POINTER_OFFSET_MAX 0x3fff
#define QUESTION_TAIL_BYTES 4  /* type, class */
#define RECORD_TAIL_BYTES 10   /* type, class, TTL, data length */
#define OPTION_HEADER_BYTES 4  /* code, length */
#define OPTION_CLIENT_SUBNET 8 /* RFC 7871 */
#define ECS_HEADER_BYTES 4     /* family, source and scope prefix */

bool dns_name_skip(const uint8_t *data, size_t size, size_t *at) {
    size_t i = *at;
    size_t bytes = 0;
    for (;;) {
        if (i >= size) {
            return false;
        }
        uint8_t label = data[i];
        if ((label & POINTER_MASK) == POINTER_MASK) {
            if (size - i < 2) {
                return false;
            }
            *at = i + 2;
            return true;
        }
        bytes += 1u + label;
        if (label > DNS_LABEL_BYTES || bytes > DNS_NAME_BYTES) {
            return false;
        }
        i += 1u + label;
        if (label == 0) {
            *at = i;
            return true;
        }
    }
}

/* The question's name comes first in a message, so there is nothing that it could point back to. */
static bool read_question(const uint8_t *data, size_t size, size_t *at, struct dns_request *out) {
    size_t end = *at;
    if (!dns_name_skip(data, size, &end) || data[end - 1] != 0 ||
        size - end < QUESTION_TAIL_BYTES) {
        return false;
    }
    for (size_t i = *at; data[i] != 0; i += 1u + data[i]) {
        if ((data[i] & POINTER_MASK) != 0) {
            return false;
        }
    }
    out->name = data + *at;
    out->name_bytes = (uint16_t)(end - *at);
    out->type = (uint16_t)dns_load_u16(data + end);
    out->class = (uint16_t)dns_load_u16(data + end + 2);
    *at = end + QUESTION_TAIL_BYTES;
    return true;
}

/* RFC 7871 section 6: as many octets as the prefix needs, and no bit set behind it. Family 0 with
 * prefix 0 is what clients send to opt out. */
static bool ecs_is_sound(const uint8_t *ecs, size_t size) {
    if (size < ECS_HEADER_BYTES) {
        return false;
    }
    unsigned family = dns_load_u16(ecs);
    unsigned prefix = ecs[2];
    unsigned bits_max = family == 1 ? 32 : family == 2 ? 128 : 0;
    size_t octets = size - ECS_HEADER_BYTES;
    if (prefix > bits_max || octets != (prefix + 7) / 8) {
        return false;
    }
    return prefix % 8 == 0 || (ecs[size - 1] & (0xff >> (prefix % 8))) == 0;
}

static bool read_opt(const uint8_t *data, size_t size, struct dns_request *out) {
    for (size_t at = 0; at < size;) {
        if (size - at < OPTION_HEADER_BYTES) {
            return false;
        }
        unsigned code = dns_load_u16(data + at);
        size_t bytes = dns_load_u16(data + at + 2);
        at += OPTION_HEADER_BYTES;
        if (bytes > size - at) {
            return false;
        }
        if (code == OPTION_CLIENT_SUBNET) {
            if (!ecs_is_sound(data + at, bytes)) {
                return false;
            }
            out->ecs = data + at;
            out->ecs_bytes = (uint16_t)bytes;
        }
        at += bytes;
    }
    return true;
}

static bool read_record(const uint8_t *data, size_t size, size_t *at, bool additional,
                        struct dns_request *out) {
    size_t owner = *at;
    size_t i = owner;
    if (!dns_name_skip(data, size, &i) || size - i < RECORD_TAIL_BYTES) {
        return false;
    }
    const uint8_t *tail = data + i;
    size_t bytes = dns_load_u16(tail + 8);
    i += RECORD_TAIL_BYTES;
    if (bytes > size - i) {
        return false;
    }
    if (dns_load_u16(tail) == DNS_TYPE_OPT) {
        /* RFC 6891 section 6.1.1: one, at the root, in the additional section. */
        if (!additional || out->has_opt || data[owner] != 0 || !read_opt(data + i, bytes, out)) {
            return false;
        }
        out->has_opt = true;
        out->udp_bytes = (uint16_t)dns_load_u16(tail + 2);
        out->edns_version = tail[5];
    }
    *at = i + bytes;
    return true;
}

enum dns_verdict dns_request_parse(const uint8_t *data, size_t size,
                                   struct dns_request *ret_request) {
    memset(ret_request, 0, sizeof *ret_request);
    if (size < DNS_HEADER_BYTES) {
        return DNS_REQUEST_DROP;
    }
    struct dns_request *out = ret_request;
    out->id = (uint16_t)dns_load_u16(data);
    out->flags = (uint16_t)dns_load_u16(data + 2);
    if ((out->flags & DNS_FLAG_QR) != 0) {
        return DNS_REQUEST_DROP;
    }
    unsigned opcode = out->flags >> DNS_OPCODE_SHIFT & DNS_OPCODE_MASK;
    if (opcode != DNS_OPCODE_QUERY && opcode != DNS_OPCODE_NOTIFY) {
        return DNS_REQUEST_UNKNOWN_OPCODE;
    }
    unsigned questions = dns_load_u16(data + 4);
    unsigned answers = dns_load_u16(data + 6);
    unsigned authorities = dns_load_u16(data + 8);
    unsigned additionals = dns_load_u16(data + 10);
    size_t at = DNS_HEADER_BYTES;
    if (questions != 1 || answers > 1 || authorities > 1 || additionals > 2 ||
        !read_question(data, size, &at, out)) {
        return DNS_REQUEST_MALFORMED;
    }
    for (unsigned i = 0; i < answers + authorities + additionals; i++) {
        if (!read_record(data, size, &at, i >= answers + authorities, out)) {
            out->has_opt = false;
            return DNS_REQUEST_MALFORMED;
        }
    }
    return DNS_REQUEST_ANSWER;
}

size_t dns_name_from_text(const char *text, uint8_t out[DNS_NAME_BYTES]) {
    size_t used = 0;
    if (strcmp(text, ".") == 0) {
        out[0] = 0;
        return 1;
    }
    while (*text != '\0') {
        size_t bytes = strcspn(text, ".");
        /* Besides the label, the root must still fit. */
        if (bytes == 0 || bytes > DNS_LABEL_BYTES || used + 1 + bytes + 1 > DNS_NAME_BYTES) {
            return 0;
        }
        out[used] = (uint8_t)bytes;
        memcpy(out + used + 1, text, bytes);
        used += 1 + bytes;
        text += bytes;
        if (*text == '.') {
            text++;
        }
    }
    if (used == 0) {
        return 0;
    }
    out[used] = 0;
    return used + 1;
}

void dns_name_lower(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint8_t c = from[i];
        to[i] = (uint8_t)(c | ((uint8_t)(c - 'A') < 26 ? 0x20 : 0));
    }
}

void dns_writer_init(struct dns_writer *writer, uint8_t *data, size_t capacity, bool compress) {
    writer->data = data;
    writer->size = 0;
    writer->capacity = capacity;
    writer->failed = false;
    writer->compress = compress;
    writer->suffix_count = 0;
}

void dns_put_u16(struct dns_writer *writer, unsigned value) {
    uint8_t *at = dns_writer_take(writer, 2);
    if (at != NULL) {
        dns_store_u16(at, value);
    }
}

void dns_put_u32(struct dns_writer *writer, uint32_t value) {
    uint8_t *at = dns_writer_take(writer, 4);
    if (at != NULL) {
        dns_store_u32(at, value);
    }
}

void dns_put_bytes(struct dns_writer *writer, const void *bytes, size_t size) {
    uint8_t *at = dns_writer_take(writer, size);
    if (at != NULL && size > 0) {
        memcpy(at, bytes, size);
    }
}

static void note_suffix(struct dns_writer *writer, size_t offset) {
    unsigned room = sizeof writer->suffixes / sizeof writer->suffixes[0];
    if (offset <= POINTER_OFFSET_MAX && writer->suffix_count < room) {
        writer->suffixes[writer->suffix_count++] = (uint16_t)offset;
    }
}

void dns_writer_note_name(struct dns_writer *writer, size_t offset) {
    const uint8_t *data = writer->data;
    for (size_t at = offset; data[at] != 0 && (data[at] & POINTER_MASK) == 0; at += 1u + data[at]) {
        note_suffix(writer, at);
    }
}

/* Whether the message has the wire name at offset. What it has there was written here, so pointers
 * only lead back. */
static bool message_has(const uint8_t *data, size_t offset, const uint8_t *name) {
    for (;;) {
        while ((data[offset] & POINTER_MASK) == POINTER_MASK) {
            offset = dns_load_u16(data + offset) & POINTER_OFFSET_MAX;
        }
        unsigned label = data[offset];
        if (label != name[0] || memcmp(data + offset + 1, name + 1, label) != 0) {
            return false;
        }
        if (label == 0) {
            return true;
        }
        offset += 1u + label;
        name += 1u + label;
    }
}

static bool find_suffix(const struct dns_writer *writer, const uint8_t *name, unsigned known,
                        uint16_t *ret_offset) {
    for (unsigned i = 0; i < known; i++) {
        if (message_has(writer->data, writer->suffixes[i], name)) {
            *ret_offset = writer->suffixes[i];
            return true;
        }
    }
    return false;
}

void dns_put_name(struct dns_writer *writer, const uint8_t *name, bool compress) {
    unsigned known = writer->suffix_count; /* this name's own suffixes are not yet whole */
    uint16_t offset = 0;
    while (name[0] != 0) {
        if (compress && writer->compress && find_suffix(writer, name, known, &offset)) {
            dns_put_u16(writer, (unsigned)POINTER_MASK << 8 | offset);
            return;
        }
        size_t at = writer->size;
        dns_put_bytes(writer, name, 1u + name[0]);
        if (writer->failed) {
            return;
        }
        note_suffix(writer, at);
        name += 1u + name[0];
    }
    dns_put_bytes(writer, "", 1);
}
