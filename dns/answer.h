/* One DNS answer (contract 1.1 to 1.8): a pure function of the request, a view of the catalog, the
 * configuration, a random state and the time. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/rand.h"
#include "catalog/backend.h"
#include "catalog/view.h"
#include "dns/config.h"
#include "dns/upstream.h"
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

/* A foreign name behind an alias, as the recursors know it. */
struct dns_resolved_name {
    const uint8_t *name; /* wire name in lower case */
    size_t name_bytes;
    struct upstream_record *records;
    unsigned count;
};

struct dns_resolved {
    const struct rand *rand; /* of dns_wanted; NULL: the scratch's own */
    struct dns_resolved_name *names;
    unsigned count;
};

/* What only others can tell. */
enum dns_need {
    DNS_NEEDS_NOTHING,
    DNS_NEEDS_SERVER, /* the whole question is for a server of a datacenter to answer */
    DNS_NEEDS_RELAY,  /* the whole question is theirs */
    DNS_NEEDS_NAMES   /* these names, then the answer again with what they come to */
};

struct dns_wanted {
    enum dns_need need;
    uint16_t name_bytes;                  /* of the question */
    char datacenter[DNS_LABEL_BYTES + 1]; /* DNS_NEEDS_SERVER: which one; "" = this agent's */
    bool mirrored;                        /* there are rows that can answer instead: no long wait */
    /* DNS_NEEDS_NAMES. With the same random state the same instances are drawn again. */
    struct rand rand;
    uint16_t type; /* A or AAAA */
    unsigned count;
    struct {
        uint16_t bytes;
        uint8_t name[DNS_NAME_BYTES]; /* lower case */
    } names[LIMIT_DNS_RESOLVED_NAMES];
};

struct dns_question {
    const uint8_t *request;
    size_t request_bytes;
    bool tcp;
    /* Inside an epoch section; NULL: there never was a leader, so lookups fail. */
    const struct catalog_view *view;
    bool wan;     /* another datacenter asks, for WAN addresses */
    bool partial; /* the view holds this agent's own rows alone: what it lacks may exist */
    const struct backend *backend; /* knows mirrors; NULL: there are none */
    int64_t wall_s;                /* Unix time, for the serial of SOA records */
    /* What recursors said, or that they or servers failed to; then nothing more is needed of them.
     * NULL: they were not asked yet. */
    const struct dns_resolved *resolved;
    bool far_failed; /* a datacenter's servers did not answer: nobody knows whether the name exists
                      */
    const struct addr *client; /* who asks; NULL: not known */
};

/* Writes the answer into out, which has DNS_MESSAGE_BYTES of room. Returns its bytes; 0: the
 * request deserves no reply. If something is needed of others this is the answer without it. */
size_t dns_answer(struct dns_scratch *scratch, const struct dns_snapshot *snapshot,
                  const struct dns_question *question, uint8_t *out);

/* What the last dns_answer with this scratch was asked. */
struct dns_asked dns_scratch_asked(const struct dns_scratch *scratch);
/* What it needs; valid until the next one. */
const struct dns_wanted *dns_scratch_wanted(const struct dns_scratch *scratch);
/* A node that the last dns_answer left out of NS records because its name is no host name, or NULL;
 * valid inside the epoch section of the question. */
const char *dns_scratch_skipped_node(const struct dns_scratch *scratch);
/* Whether lookups need a leader (allow_stale off). */
bool dns_snapshot_needs_leader(const struct dns_snapshot *snapshot);
const struct dns_config *dns_snapshot_config(const struct dns_snapshot *snapshot);

#endif
