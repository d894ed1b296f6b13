/* One mirror and the stream that fills it (catalog/mirror.h; proto/rpc.proto, RpcMirror). Core's
 * thread, but for what says otherwise.
 *
 * There are always some requests with the source; each part that comes is applied in a turn of its
 * own, and only then is the next one asked for. A stream that breaks is begun again, by and by less
 * often: behind the index of the mirror where that is possible, else into a mirror of its own that
 * takes the old one's place once it is whole. Meanwhile the old one answers, and its age grows.
 *
 * Age needs no clocks that agree: the source tells how long it has held the request when it looked,
 * so its rows were so at that time after this side has asked, or later. */
#ifndef AGENT_MIRROR_PULL_H
#define AGENT_MIRROR_PULL_H

#include "agent/links.h"
#include "base/log.h"
#include "base/uuid.h"
#include "catalog/mirror.h"
#include "net/rpc.h"

struct mirror_pull;

struct mirror_pull_config {
    struct loop *loop;
    struct log *log;
    struct epoch *epoch;
    const char *datacenter; /* whose rows, "": of our own; copied */
    uint32_t place;         /* among this agent's: below LIMIT_MIRRORS, no other has it */
    const char *shown;      /* its name in the log; copied */
    bool all;               /* else services are added by name */
    bool mirrored;          /* others mirror this mirror */
    struct links *links;    /* to servers of the datacenter */
    size_t bytes_max;       /* of rows, about: above, the mirror is given up for a while */
    /* Where the rows come from instead, see mirror_pull_go_by: NULL: nowhere now. */
    struct rpc_connection *(*near)(void *context);
    /* The mirror has a new view. */
    void (*published)(void *context);
    /* Whether some thread has to do with one that has been replaced. */
    bool (*in_use)(void *context, const struct catalog *catalog);
    void *context;
    uint64_t seed;
};

struct mirror_pull *mirror_pull_create(const struct mirror_pull_config *config);
/* NULL is allowed. No reader may be inside. */
void mirror_pull_destroy(struct mirror_pull *pull);

/* From where: servers of the datacenter, or the connection that `near` tells. A stream under way is
 * begun again. */
void mirror_pull_go_by(struct mirror_pull *pull, bool near);

/* Of a mirror by names: a lookup of it has come. It is taken with the first one while there are
 * few, with the second one while there are many. */
void mirror_pull_want(struct mirror_pull *pull, const char *service);
/* Drops services that nobody has asked for since, unless their rows are too old to be had anew, and
 * the longest unused while there is too much. */
void mirror_pull_evict(struct mirror_pull *pull, int64_t unused_since_ms);

/* What answers, for this thread only; NULL: it never was whole. */
struct mirror *mirror_pull_mirror(const struct mirror_pull *pull);
bool mirror_pull_cluster(const struct mirror_pull *pull, struct uuid *ret_cluster);

/* It is too old to be as the source is now. */
bool mirror_pull_is_old(const struct mirror_pull *pull);

/* Any thread, inside an epoch section. */
struct mirror_face {
    const struct catalog_view *view;
    int64_t age_ms; /* since it was surely so */
};
/* False: it never was whole. */
bool mirror_pull_look(const struct mirror_pull *pull, struct mirror_face *ret_face);
/* The same of one service of a mirror by names, and notes that it is used. False: it is not there,
 * or not whole. */
bool mirror_pull_use(const struct mirror_pull *pull, const char *service,
                     struct mirror_face *ret_face);
/* Any thread. */
struct mirror_pull_counts {
    uint64_t parts, bytes, packed_bytes, begun, broken; /* since the start; begun: from scratch */
    uint64_t index, instances, row_bytes;               /* now */
};
void mirror_pull_get_counts(const struct mirror_pull *pull, struct mirror_pull_counts *ret_counts);

#endif
