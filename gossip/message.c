/* Reading and writing bytes; what they mean is told in message.h. */
#include "gossip/message.h"

#include <string.h>

/* A coordinate beyond this many seconds is nonsense. */
#define COORDINATE_MAX_S 1e4f

const uint8_t *reader_bytes(struct reader *reader, size_t size) {
    if (reader->failed || (size_t)(reader->end - reader->at) < size) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += size;
    return bytes;
}

uint8_t reader_u8(struct reader *reader) {
    const uint8_t *b = reader_bytes(reader, 1);
    return b != NULL ? b[0] : 0;
}

uint32_t reader_u32(struct reader *reader) {
    const uint8_t *b = reader_bytes(reader, 4);
    return b == NULL ? 0 : (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

uint64_t reader_u64(struct reader *reader) {
    uint64_t high = reader_u32(reader);
    return high << 32 | reader_u32(reader);
}

uint32_t reader_varint(struct reader *reader) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = reader_u8(reader);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            break;
        }
        reader->failed |= shift == 28;
    }
    if (value > UINT32_MAX) {
        reader->failed = true;
    }
    return reader->failed ? 0 : (uint32_t)value;
}

struct uuid reader_id(struct reader *reader) {
    struct uuid id = {0};
    const uint8_t *b = reader_bytes(reader, sizeof id.bytes);
    if (b != NULL) {
        memcpy(id.bytes, b, sizeof id.bytes);
    }
    return id;
}

struct gossip_incarnation reader_incarnation(struct reader *reader) {
    struct gossip_incarnation incarnation;
    incarnation.boot_epoch = reader_u32(reader);
    incarnation.counter = reader_varint(reader);
    return incarnation;
}

struct gossip_address reader_address(struct reader *reader) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct gossip_address address = {0};
    uint8_t family = reader_u8(reader);
    size_t size = family == 4 ? 4 : 16;
    reader->failed |= family != 4 && family != 6;
    const uint8_t *ip = reader_bytes(reader, size);
    const uint8_t *port = reader_bytes(reader, sizeof address.port);
    if (port == NULL) {
        return address;
    }
    memcpy(address.ip, mapped, sizeof mapped);
    memcpy(address.ip + sizeof address.ip - size, ip, size);
    memcpy(address.port, port, sizeof address.port);
    return address;
}

static double reader_single(struct reader *reader) {
    uint32_t bits = reader_u32(reader);
    float value;
    memcpy(&value, &bits, sizeof value);
    /* Written so that a NaN fails too. */
    if (!(value >= -COORDINATE_MAX_S && value <= COORDINATE_MAX_S)) {
        reader->failed = true;
        return 0;
    }
    return (double)value;
}

struct coordinate reader_coordinate(struct reader *reader) {
    struct coordinate coordinate;
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        coordinate.vector[i] = reader_single(reader);
    }
    coordinate.error = reader_single(reader);
    coordinate.adjustment = reader_single(reader);
    coordinate.height = reader_single(reader);
    reader->failed |= coordinate.error < 0 || coordinate.height < 0;
    return coordinate;
}

bool reader_section(struct reader *reader, uint8_t *ret_kind, struct reader *ret_body) {
    if (reader->failed || reader->at == reader->end) {
        return false;
    }
    uint8_t kind = reader_u8(reader);
    uint32_t size = reader_varint(reader);
    const uint8_t *body = reader_bytes(reader, size);
    if (body == NULL) {
        return false;
    }
    *ret_kind = kind;
    *ret_body = (struct reader){.at = body, .end = body + size};
    return true;
}

void write_u32(struct buf *out, uint32_t value) {
    uint8_t b[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                    (uint8_t)value};
    buf_append(out, b, sizeof b);
}

void write_u64(struct buf *out, uint64_t value) {
    write_u32(out, (uint32_t)(value >> 32));
    write_u32(out, (uint32_t)value);
}

void write_varint(struct buf *out, uint32_t value) {
    while (value >= 0x80) {
        buf_append_byte(out, (char)(value | 0x80));
        value >>= 7;
    }
    buf_append_byte(out, (char)value);
}

size_t varint_bytes(uint32_t value) {
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7) {
        bytes++;
    }
    return bytes;
}

void write_id(struct buf *out, const struct uuid *id) {
    buf_append(out, id->bytes, sizeof id->bytes);
}

void write_incarnation(struct buf *out, struct gossip_incarnation incarnation) {
    write_u32(out, incarnation.boot_epoch);
    write_varint(out, incarnation.counter);
}

size_t incarnation_bytes(struct gossip_incarnation incarnation) {
    return 4 + varint_bytes(incarnation.counter);
}

static bool is_v4(const struct gossip_address *address) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->ip, mapped, sizeof mapped) == 0;
}

size_t address_bytes(const struct gossip_address *address) {
    return 1 + (is_v4(address) ? 4 : 16) + 2;
}

void write_address(struct buf *out, const struct gossip_address *address) {
    size_t size = is_v4(address) ? 4 : 16;
    buf_append_byte(out, size == 4 ? 4 : 6);
    buf_append(out, address->ip + sizeof address->ip - size, size);
    buf_append(out, address->port, sizeof address->port);
}

static void write_single(struct buf *out, double value) {
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    write_u32(out, bits);
}

void write_coordinate(struct buf *out, const struct coordinate *coordinate) {
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        write_single(out, coordinate->vector[i]);
    }
    write_single(out, coordinate->error);
    write_single(out, coordinate->adjustment);
    write_single(out, coordinate->height);
}

void write_head(struct buf *out, uint32_t pool) {
    buf_append_byte(out, MESSAGE_VERSION);
    write_u32(out, pool);
}

void write_section(struct buf *out, enum message_kind kind, size_t size) {
    buf_append_byte(out, (char)kind);
    write_varint(out, (uint32_t)size);
}

/* ---- descriptors ---- */

/* What people see in tables and logs. */
static bool is_name(const char *name, size_t size) {
    if (size == 0 || size > LIMIT_GOSSIP_NAME_BYTES) {
        return false;
    }
    char copy[LIMIT_GOSSIP_NAME_BYTES + 4] = {0}; /* a cut sequence ends at a NUL */
    memcpy(copy, name, size);
    for (size_t at = 0; at < size;) {
        unsigned char c = (unsigned char)copy[at];
        size_t length = str_utf8_length((const unsigned char *)copy + at);
        if (c < 0x20 || c == 0x7f || length == 0 || length > size - at) {
            return false;
        }
        at += length;
    }
    return true;
}

size_t descriptor_encoded_bytes(const struct gossip_info *info) {
    size_t name_bytes = strlen(info->name);
    if (!is_name(info->name, name_bytes) || info->tags.count > LIMIT_GOSSIP_TAGS ||
        info->protocol_min > info->protocol_max) {
        return 0;
    }
    size_t size = 16 + 1 + 2 + address_bytes(&info->address) + varint_bytes((uint32_t)name_bytes) +
                  name_bytes + varint_bytes(info->tags.count);
    for (uint32_t i = 0; i < info->tags.count; i++) {
        size_t key_bytes = strlen(info->tags.v[i].key);
        size_t value_bytes = strlen(info->tags.v[i].value);
        if (key_bytes == 0 || key_bytes > 255 || value_bytes > LIMIT_GOSSIP_DESCRIPTOR_BYTES ||
            (i > 0 && strcmp(info->tags.v[i - 1].key, info->tags.v[i].key) >= 0)) {
            return 0;
        }
        size += varint_bytes((uint32_t)key_bytes) + key_bytes +
                varint_bytes((uint32_t)value_bytes) + value_bytes;
    }
    return size <= LIMIT_GOSSIP_DESCRIPTOR_BYTES ? size : 0;
}

static void write_text(struct buf *out, const char *text) {
    size_t size = strlen(text);
    write_varint(out, (uint32_t)size);
    buf_append(out, text, size);
}

void descriptor_encode(const struct gossip_info *info, struct buf *out) {
    write_id(out, &info->id);
    buf_append_byte(out, info->server ? DESCRIPTOR_SERVER : 0);
    buf_append_byte(out, (char)info->protocol_min);
    buf_append_byte(out, (char)info->protocol_max);
    write_address(out, &info->address);
    write_text(out, info->name);
    write_varint(out, info->tags.count);
    for (uint32_t i = 0; i < info->tags.count; i++) {
        write_text(out, info->tags.v[i].key);
        write_text(out, info->tags.v[i].value);
    }
}

/* No NUL inside: texts become C strings. */
static const uint8_t *read_text(struct reader *reader, uint32_t *ret_size) {
    *ret_size = reader_varint(reader);
    const uint8_t *text = reader_bytes(reader, *ret_size);
    if (text != NULL && memchr(text, 0, *ret_size) != NULL) {
        reader->failed = true;
    }
    return text;
}

static bool keys_rise(const uint8_t *a, uint32_t a_bytes, const uint8_t *b, uint32_t b_bytes) {
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order < 0 || (order == 0 && a_bytes < b_bytes);
}

bool descriptor_is_valid(const uint8_t *bytes, size_t size) {
    struct reader reader = {.at = bytes, .end = bytes + size};
    if (size > LIMIT_GOSSIP_DESCRIPTOR_BYTES) {
        return false;
    }
    (void)reader_id(&reader);
    (void)reader_u8(&reader);
    uint8_t low = reader_u8(&reader);
    uint8_t high = reader_u8(&reader);
    (void)reader_address(&reader);
    uint32_t name_bytes;
    const uint8_t *name = read_text(&reader, &name_bytes);
    uint32_t tags = reader_varint(&reader);
    if (reader.failed || low > high || tags > LIMIT_GOSSIP_TAGS ||
        !is_name((const char *)name, name_bytes)) {
        return false;
    }
    const uint8_t *before = NULL;
    uint32_t before_bytes = 0;
    for (uint32_t i = 0; i < tags; i++) {
        uint32_t key_bytes, value_bytes;
        const uint8_t *key = read_text(&reader, &key_bytes);
        (void)read_text(&reader, &value_bytes);
        if (reader.failed || key_bytes == 0 || key_bytes > 255 ||
            (before != NULL && !keys_rise(before, before_bytes, key, key_bytes))) {
            return false;
        }
        before = key;
        before_bytes = key_bytes;
    }
    return true;
}
