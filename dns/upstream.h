/* What goes to a recursor and what is taken from it (contract 1.7, 1.3.3; RFC 5452). Pure.
 *
 * A query goes out as the client sent it but for two things that a forger would have to guess: its
 * id, and the case of the letters in its name (draft-vixie-dnsext-dns0x20). Both are put back as
 * they were in what is given to the client. */
#ifndef DNS_UPSTREAM_H
#define DNS_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "dns/wire.h"

/* Makes message, a request with one question whose name has name_bytes, hard to answer for others.
 * random: 34 bytes. */
#define UPSTREAM_RANDOM_BYTES (2 + (DNS_NAME_BYTES + 7) / 8)
void upstream_disguise(uint8_t *message, size_t name_bytes, const uint8_t *random);

enum upstream_verdict {
    UPSTREAM_IGNORE,     /* not the answer to what was sent: the true one may still come */
    UPSTREAM_OTHER_CASE, /* the answer, if the recursor does not keep the case of names */
    UPSTREAM_NEXT,       /* its answer, of no use: the next recursor may know better */
    UPSTREAM_CUT,        /* to be taken, and it says that it was truncated */
    UPSTREAM_TAKE
};

/* reply came from the recursor's address; sent is what was sent to it, whole. case_counts: the
 * question must be the same byte for byte. *ret_bytes is the size of what is taken: bytes behind
 * the last record do not count, nor does the last record of one that was cut within it, which
 * changes the counts in reply. */
enum upstream_verdict upstream_judge(const uint8_t *sent, size_t name_bytes, uint8_t *reply,
                                     size_t reply_bytes, bool case_counts, size_t *ret_bytes);

/* Gives a judged reply the id and the question's name of the client's request. */
void upstream_restore(uint8_t *reply, const uint8_t *request, size_t name_bytes);

/* A question of our own, with recursion desired. Returns its bytes. */
#define UPSTREAM_QUESTION_BYTES (DNS_HEADER_BYTES + DNS_NAME_BYTES + 4)
size_t upstream_question(const uint8_t *name, size_t name_bytes, uint16_t type,
                         uint8_t out[UPSTREAM_QUESTION_BYTES]);

/* A record behind a foreign name: A, AAAA, CNAME (data: a wire name) or TXT. */
struct upstream_record {
    uint16_t type;
    uint16_t data_bytes;
    uint32_t ttl_s;
    const uint8_t *owner; /* a wire name, without pointers */
    const uint8_t *data;
};

/* The records of those types in the answer section of a judged reply, at most
 * LIMIT_DNS_RESOLVED_RECORDS, in the arena; what is malformed ends the list. Returns their count.
 */
unsigned upstream_records(const uint8_t *reply, size_t reply_bytes, struct arena *arena,
                          struct upstream_record **ret_records);

#endif
