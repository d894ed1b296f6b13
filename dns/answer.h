/* One DNS answer (contract 1.1 to 1.8): a pure function of the request, a view of the catalog, the
 * configuration, a random state and the time. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rand.h"
#include "catalog/view.h"
#include "dns/config.h"
#include "dns/wire.h"

/* A configuration made ready: one block, immutable. */
struct dns_snapshot;

/* The caller frees it with free(). NULL and a sentence: a domain that is no DNS name. */
struct dns_snapshot *dns_snapshot_create(const struct dns_config *config, struct err_text *text);

/* Room to work in, one for each thread; large, but touched only as far as an answer needs. */
struct dns_scratch;

struct dns_scratch *dns_scratch_create(uint64_t seed);
void dns_scratch_destroy(struct dns_scratch *scratch); /* NULL is allowed */

/* What a question asked for, for metrics. */
struct dns_asked {
    bool parsed; /* it was a question about names of ours */
    bool reverse;
    uint16_t type;
};

struct dns_question {
    const uint8_t *request;
    size_t request_bytes;
    bool tcp;
    /* Inside an epoch section; NULL: there never was a leader, so lookups fail. */
    const struct catalog_view *view;
    int64_t wall_s; /* Unix time, for the serial of SOA records */
};

/* Writes the answer into out, which has DNS_MESSAGE_BYTES of room. Returns its bytes; 0: the
 * request deserves no reply. */
size_t dns_answer(struct dns_scratch *scratch, const struct dns_snapshot *snapshot,
                  const struct dns_question *question, uint8_t *out);

/* What the last dns_answer with this scratch was asked. */
struct dns_asked dns_scratch_asked(const struct dns_scratch *scratch);

#endif
