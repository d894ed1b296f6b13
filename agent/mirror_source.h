/* What this server tells others of rows (catalog/mirror.h): a feed for each stream, the rows
 * encoded and packed on a thread of its own. Core's thread.
 *
 * A stream is a chain of requests (proto/rpc.proto, RpcMirror); who does not ask any more has given
 * it up, and it is forgotten. */
#ifndef AGENT_MIRROR_SOURCE_H
#define AGENT_MIRROR_SOURCE_H

#include "base/uuid.h"
#include "catalog/catalog.h"
#include "net/loop.h"
#include "net/rpc.h"

struct mirror_sources;

/* Where rows are. */
struct mirror_origin {
    const struct catalog *catalog; /* its changes are noted */
    struct uuid cluster;
    int64_t lag_ms; /* age of what is known of it */
};

struct mirror_sources_config {
    struct loop *loop;
    struct epoch *epoch;
    struct rpc *rpc; /* takes the requests */
    /* Of a datacenter, "" = this server's. False: nothing whole is known of it. */
    bool (*find)(void *context, const char *datacenter, struct mirror_origin *ret_origin);
    void *context;
};

struct mirror_sources *mirror_sources_create(const struct mirror_sources_config *config);
/* After the loop has ended, before the catalogs and the last loop_flush. NULL is allowed. */
void mirror_sources_destroy(struct mirror_sources *sources);

/* Some catalog has a new view. */
void mirror_sources_published(struct mirror_sources *sources);
/* Whether one is just being read: until then it must stay. */
bool mirror_sources_use(const struct mirror_sources *sources, const struct catalog *catalog);

struct mirror_source_counts {
    uint32_t streams;
    uint64_t parts, bytes, packed_bytes; /* told, since the start */
};
/* Any thread. */
void mirror_sources_get_counts(const struct mirror_sources *sources,
                               struct mirror_source_counts *ret_counts);

#endif
