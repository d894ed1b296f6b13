/* DNS messages as bytes (RFC 1035 section 4, RFC 6891): a bounds-checked reader of questions and a
 * writer with name compression. Pure, and without heap.
 *
 * A wire name is a run of length-prefixed labels that ends with the empty one, at most
 * DNS_NAME_BYTES in all, without pointers. */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DNS_HEADER_BYTES 12
#define DNS_NAME_BYTES 255
#define DNS_LABEL_BYTES 63
#define DNS_LABELS 127
#define DNS_MESSAGE_BYTES 65535
#define DNS_OPT_BYTES 11 /* an OPT record without options */

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_ANY = 255
};

#define DNS_CLASS_IN 1

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16 /* its upper bits travel in OPT (RFC 6891 section 6.1.3) */
};

#define DNS_OPCODE_QUERY 0
#define DNS_OPCODE_NOTIFY 4

#define DNS_FLAG_QR 0x8000
#define DNS_FLAG_AA 0x0400
#define DNS_FLAG_TC 0x0200
#define DNS_FLAG_RD 0x0100
#define DNS_FLAG_RA 0x0080
#define DNS_FLAG_CD 0x0010
#define DNS_OPCODE_SHIFT 11
#define DNS_OPCODE_MASK 0xf

/* A request. Pointers are into its bytes. */
struct dns_request {
    uint16_t id;
    uint16_t flags;      /* as they came */
    const uint8_t *name; /* wire name of the question; NULL: no question was read */
    uint16_t name_bytes;
    uint16_t type, class;
    bool has_opt;
    uint8_t edns_version;
    uint16_t udp_bytes; /* what the client takes, as it said */
    const uint8_t *ecs; /* data of its client subnet option (RFC 7871), or NULL */
    uint16_t ecs_bytes;
};

enum dns_verdict {
    DNS_REQUEST_ANSWER,
    DNS_REQUEST_DROP,      /* shorter than a header, or itself an answer: no reply at all */
    DNS_REQUEST_MALFORMED, /* FORMERR, with what was read of the question */
    DNS_REQUEST_UNKNOWN_OPCODE
};

/* Bytes after the last record are ignored. *ret_request is filled as far as the verdict needs. */
enum dns_verdict dns_request_parse(const uint8_t *data, size_t size,
                                   struct dns_request *ret_request);

/* Bytes of the wire name at data[*at], which a pointer ends early; moves *at past it. False: it
 * does not fit into size, or its labels are over their limits. */
bool dns_name_skip(const uint8_t *data, size_t size, size_t *at);

/* "a.b" or "a.b." as a wire name; no escapes. Returns its bytes; 0: an empty or too long label, or
 * too long in all. "." is the root. */
size_t dns_name_from_text(const char *text, uint8_t out[DNS_NAME_BYTES]);

/* ASCII letters to lower case; lengths of labels are no letters, so whole wire names may be given.
 */
void dns_name_lower(uint8_t *to, const uint8_t *from, size_t size);

/* Where records are put. Running out of room sets failed, which stays; nothing is written then. */
struct dns_writer {
    uint8_t *data;
    size_t size; /* written so far */
    size_t capacity;
    bool failed;
    bool compress;
    uint16_t suffix_count;
    uint16_t suffixes[64]; /* offsets of names that a pointer may point to */
};

void dns_writer_init(struct dns_writer *writer, uint8_t *data, size_t capacity, bool compress);

/* Room for size more bytes, already counted; NULL when there is none. */
static inline uint8_t *dns_writer_take(struct dns_writer *writer, size_t size) {
    if (writer->capacity - writer->size < size) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *at = writer->data + writer->size;
    writer->size += size;
    return at;
}

static inline uint8_t *dns_store_u16(uint8_t *to, unsigned value) {
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    return to + 2;
}

static inline uint8_t *dns_store_u32(uint8_t *to, uint32_t value) {
    return dns_store_u16(dns_store_u16(to, value >> 16), value & 0xffff);
}

static inline unsigned dns_load_u16(const uint8_t *from) {
    return (unsigned)from[0] << 8 | from[1];
}

void dns_put_u16(struct dns_writer *writer, unsigned value);
void dns_put_u32(struct dns_writer *writer, uint32_t value);
void dns_put_bytes(struct dns_writer *writer, const void *bytes, size_t size);

/* A name, with a pointer for the longest suffix that the message already has (same case). Names in
 * SRV data are never compressed (RFC 2782): compress says whether this one may be; either way later
 * names may point to it. */
void dns_put_name(struct dns_writer *writer, const uint8_t *name, bool compress);
/* Remembers the suffixes of a wire name that was put at offset by other means. */
void dns_writer_note_name(struct dns_writer *writer, size_t offset);

#endif
