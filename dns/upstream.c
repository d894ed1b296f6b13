#include "dns/upstream.h"

#include "base/limits.h"

#define QUESTION_TAIL_BYTES 4 /* type, class */
#define RECORD_TAIL_BYTES 10  /* type, class, TTL, data length */
#define POINTER_MASK 0xc0
#define POINTER_OFFSET_MAX 0x3fff
#define RCODE_MASK 0xf

static bool is_letter(uint8_t c) {
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

void upstream_disguise(uint8_t *message, size_t name_bytes, const uint8_t *random) {
    memcpy(message, random, 2);
    uint8_t *name = message + DNS_HEADER_BYTES;
    /* Lengths of labels are below the letters. */
    for (size_t i = 0; i < name_bytes; i++) {
        if (is_letter(name[i])) {
            unsigned bit = random[2 + i / 8] >> (i % 8) & 1;
            name[i] = (uint8_t)((name[i] & ~0x20u) | bit << 5);
        }
    }
}

/* Whether the question of the reply is the one that was sent, but for the case of its name. */
static bool is_same_question(const uint8_t *sent, const uint8_t *reply, size_t reply_bytes,
                             size_t name_bytes) {
    uint8_t lower[2][DNS_NAME_BYTES];
    if (dns_load_u16(reply + 4) != 1 ||
        reply_bytes < DNS_HEADER_BYTES + name_bytes + QUESTION_TAIL_BYTES) {
        return false;
    }
    dns_name_lower(lower[0], sent + DNS_HEADER_BYTES, name_bytes);
    dns_name_lower(lower[1], reply + DNS_HEADER_BYTES, name_bytes);
    size_t tail = DNS_HEADER_BYTES + name_bytes;
    return memcmp(lower[0], lower[1], name_bytes) == 0 &&
           memcmp(sent + tail, reply + tail, QUESTION_TAIL_BYTES) == 0;
}

/* Moves *at past a record. */
static bool skip_record(const uint8_t *reply, size_t bytes, size_t *at) {
    size_t i = *at;
    if (!dns_name_skip(reply, bytes, &i) || bytes - i < RECORD_TAIL_BYTES) {
        return false;
    }
    size_t data_bytes = dns_load_u16(reply + i + 8);
    i += RECORD_TAIL_BYTES;
    if (data_bytes > bytes - i) {
        return false;
    }
    *at = i + data_bytes;
    return true;
}

/* Walks the records. False: the message ends within one; with `cut` the counts then say what is
 * whole. */
static bool measure(uint8_t *reply, size_t reply_bytes, size_t name_bytes, bool cut,
                    size_t *ret_bytes) {
    size_t at = DNS_HEADER_BYTES + name_bytes + QUESTION_TAIL_BYTES;
    for (unsigned section = 6; section <= 10; section += 2) {
        unsigned count = dns_load_u16(reply + section);
        unsigned whole = 0;
        while (whole < count && skip_record(reply, reply_bytes, &at)) {
            whole++;
        }
        if (whole < count && !cut) {
            return false;
        }
        dns_store_u16(reply + section, whole);
    }
    *ret_bytes = at;
    return true;
}

enum upstream_verdict upstream_judge(const uint8_t *sent, size_t name_bytes, uint8_t *reply,
                                     size_t reply_bytes, bool case_counts, size_t *ret_bytes) {
    if (reply_bytes < DNS_HEADER_BYTES || memcmp(reply, sent, 2) != 0) {
        return UPSTREAM_IGNORE;
    }
    unsigned flags = dns_load_u16(reply + 2);
    unsigned rcode = flags & RCODE_MASK;
    unsigned opcode = flags >> DNS_OPCODE_SHIFT & DNS_OPCODE_MASK;
    if ((flags & DNS_FLAG_QR) == 0 || opcode != DNS_OPCODE_QUERY) {
        return UPSTREAM_IGNORE;
    }
    bool refused = rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN;
    if (refused && dns_load_u16(reply + 4) == 0) {
        return UPSTREAM_NEXT; /* some refuse without repeating the question */
    }
    if (!is_same_question(sent, reply, reply_bytes, name_bytes)) {
        return UPSTREAM_IGNORE;
    }
    if (case_counts && memcmp(sent + DNS_HEADER_BYTES, reply + DNS_HEADER_BYTES, name_bytes) != 0) {
        return UPSTREAM_OTHER_CASE;
    }
    bool cut = (flags & DNS_FLAG_TC) != 0;
    if (refused || !measure(reply, reply_bytes, name_bytes, cut, ret_bytes)) {
        return UPSTREAM_NEXT;
    }
    return cut ? UPSTREAM_CUT : UPSTREAM_TAKE;
}

void upstream_restore(uint8_t *reply, const uint8_t *request, size_t name_bytes) {
    memcpy(reply, request, 2);
    memcpy(reply + DNS_HEADER_BYTES, request + DNS_HEADER_BYTES, name_bytes);
}

size_t upstream_question(const uint8_t *name, size_t name_bytes, uint16_t type,
                         uint8_t out[UPSTREAM_QUESTION_BYTES]) {
    memset(out, 0, DNS_HEADER_BYTES);
    dns_store_u16(out + 2, DNS_FLAG_RD);
    dns_store_u16(out + 4, 1);
    memcpy(out + DNS_HEADER_BYTES, name, name_bytes);
    uint8_t *at = dns_store_u16(out + DNS_HEADER_BYTES + name_bytes, type);
    dns_store_u16(at, DNS_CLASS_IN);
    return DNS_HEADER_BYTES + name_bytes + QUESTION_TAIL_BYTES;
}

/* The name at `at` without its pointers, in the arena; NULL: it is none. Each pointer must lead to
 * before the one that led there, so a walk ends. */
static const uint8_t *read_name(const uint8_t *reply, size_t bytes, size_t at,
                                struct arena *arena) {
    uint8_t name[DNS_NAME_BYTES];
    size_t used = 0;
    size_t before = at;
    for (;;) {
        if (at >= bytes) {
            return NULL;
        }
        unsigned label = reply[at];
        if ((label & POINTER_MASK) == POINTER_MASK) {
            size_t to = bytes - at < 2 ? before : dns_load_u16(reply + at) & POINTER_OFFSET_MAX;
            if (to >= before) {
                return NULL;
            }
            before = at = to;
            continue;
        }
        if (label > DNS_LABEL_BYTES || used + 1 + label > sizeof name || bytes - at < 1 + label) {
            return NULL;
        }
        memcpy(name + used, reply + at, 1 + label);
        used += 1 + label;
        at += 1 + label;
        if (label == 0) {
            return memcpy(arena_alloc(arena, used), name, used);
        }
    }
}

/* False: malformed. What is of no use has no owner. */
static bool read_record(const uint8_t *reply, size_t bytes, size_t *at, struct arena *arena,
                        struct upstream_record *out) {
    size_t start = *at;
    out->owner = NULL;
    if (!skip_record(reply, bytes, at)) {
        return false;
    }
    size_t tail = start;
    dns_name_skip(reply, bytes, &tail);
    out->type = (uint16_t)dns_load_u16(reply + tail);
    out->ttl_s = (uint32_t)dns_load_u16(reply + tail + 4) << 16 | dns_load_u16(reply + tail + 6);
    out->data_bytes = (uint16_t)dns_load_u16(reply + tail + 8);
    size_t data = tail + RECORD_TAIL_BYTES;
    bool plain = (out->type == DNS_TYPE_A && out->data_bytes == 4) ||
                 (out->type == DNS_TYPE_AAAA && out->data_bytes == 16) ||
                 (out->type == DNS_TYPE_TXT && out->data_bytes <= LIMIT_DNS_TXT_BYTES);
    if (dns_load_u16(reply + tail + 2) != DNS_CLASS_IN || (!plain && out->type != DNS_TYPE_CNAME)) {
        return true;
    }
    out->data = plain ? memcpy(arena_alloc(arena, out->data_bytes), reply + data, out->data_bytes)
                      : read_name(reply, *at, data, arena);
    out->owner = read_name(reply, bytes, start, arena);
    return out->data != NULL && out->owner != NULL;
}

unsigned upstream_records(const uint8_t *reply, size_t reply_bytes, struct arena *arena,
                          struct upstream_record **ret_records) {
    struct upstream_record *records =
        arena_alloc(arena, LIMIT_DNS_RESOLVED_RECORDS * sizeof *records);
    unsigned count = 0;
    unsigned left = dns_load_u16(reply + 6);
    size_t at = DNS_HEADER_BYTES;
    if (dns_load_u16(reply + 4) != 1 || !dns_name_skip(reply, reply_bytes, &at) ||
        reply_bytes - at < QUESTION_TAIL_BYTES) {
        left = 0;
    }
    at += QUESTION_TAIL_BYTES;
    while (left-- > 0 && count < LIMIT_DNS_RESOLVED_RECORDS &&
           read_record(reply, reply_bytes, &at, arena, &records[count])) {
        count += records[count].owner != NULL;
    }
    *ret_records = records;
    return count;
}
