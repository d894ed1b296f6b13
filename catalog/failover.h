/* Failover of lookups: where a service is looked up when this datacenter has no healthy instance of
 * it, and when lookups come home again. Pure: the driver (agent/failover.c) brings the time.
 *
 * A service that was answered from elsewhere is `away` until home has been healthy for the policy's
 * hold-down without a break; only then are lookups answered from home again. While it is away
 * lookups stay with one datacenter as long as that can answer, and move to one that comes before
 * it, by distance or policy, only once that has been so for the hold-down. Only services that
 * somebody has looked up are kept track of, so what nobody asks for costs nothing. */
#ifndef CATALOG_FAILOVER_H
#define CATALOG_FAILOVER_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "catalog/view.h"

/* Keys of a service's metadata (docs/API.md), and the service of a policy for all others. */
#define FAILOVER_META "cairn-failover"
#define FAILOVER_META_HOLD_DOWN "cairn-failover-hold-down"
#define FAILOVER_ALL "*"

/* ---- policies ---- */

/* Of the agent's configuration. Borrowed. */
struct failover_defaults {
    bool enabled;
    int64_t nearest;
    struct str_list datacenters;
    int64_t hold_down_ns;
};

struct failover_policy {
    bool enabled;
    int64_t nearest;
    struct str_list datacenters;
    int64_t hold_down_ns;
};

/* Body of PUT /v1/config/failover/:service. ERR_INVALID: a decode failure; ERR_REFUSED. */
enum err failover_parse(const char *service, const char *json, size_t size,
                        const struct failover_defaults *defaults, struct arena *arena,
                        struct catalog_failover *ret_policy, struct err_text *text);
void failover_write(struct json *json, const struct catalog_failover *policy);

/* That of the service: set through the API, else its instances' metadata, else "*" of the API, else
 * the configuration. Lists live in the view, the arena or the defaults. */
struct failover_policy failover_policy_of(const struct catalog_view *view, const char *service,
                                          const struct failover_defaults *defaults,
                                          struct arena *arena);
/* Names of datacenters to try, in order: the first `nearest` of those known, which are sorted by
 * distance, then the named ones that are known, each once. In the arena. */
struct str_list failover_targets(int64_t nearest, const struct str_list *named,
                                 const struct str_list *known, struct arena *arena);

/* ---- who is away ---- */

struct failover_core;

/* What readers see of it: one block, immutable. */
struct failover_state {
    struct str_list datacenters; /* others, the nearest first */
    struct str_list away;        /* services in lower case, sorted by their bytes */
    struct str_list where;       /* of each of them: where lookups stay */
};

struct failover_core *failover_core_create(void);
void failover_core_destroy(struct failover_core *core); /* NULL is allowed */
/* A lookup of the service was answered from `where`, because home has none that is healthy. Takes
 * no more than LIMIT_FAILOVER_AWAY. */
void failover_core_note(struct failover_core *core, const char *service, const char *where,
                        int64_t now_ms);
struct failover_judged {
    bool healthy; /* at home */
    int64_t hold_down_ms;
    /* Names of datacenters, borrowed until the next one is judged; NULL: none has a healthy one. */
    const char *stays; /* `where` if that can answer, else the first that can */
    const char *best;  /* the first that can answer */
};
/* Looks at all that are away. True: some have come home, have moved, or left the list because
 * nobody has asked for long. */
typedef void failover_judge_fn(const char *service, const char *where, void *context,
                               struct failover_judged *ret);
bool failover_core_step(struct failover_core *core, int64_t now_ms, failover_judge_fn *judge,
                        void *context);
size_t failover_core_count(const struct failover_core *core);
/* One block from malloc; datacenters are copied. */
struct failover_state *failover_core_state(const struct failover_core *core,
                                           const struct str_list *datacenters);

/* ---- lookups ---- */

/* The rows of a datacenter, as this agent has them. */
struct failover_place {
    const char *datacenter; /* NULL: home */
    const struct catalog_view *view;
    int64_t age_ms; /* since they were surely so; 0 at home */
};

/* What lookups need of the agent, filled in by agent/failover.c. */
struct failover_source {
    void *context;
    struct failover_defaults defaults;
    /* Published; valid inside an epoch section. Never NULL. */
    const struct failover_state *_Atomic state;
    /* Any thread, inside an epoch section. False: there are no rows of it. */
    bool (*look)(void *context, const char *datacenter, struct failover_place *ret_place);
    /* Any thread, never blocks: see failover_core_note. */
    void (*note)(void *context, const char *service, const char *where);
};

/* The rows of a datacenter; of one that has been silent for LIMIT_FAILOVER_FRESH_MS only if old:
 * its instances may be gone with it, so lookups look there last. */
bool failover_look(const struct failover_source *source, const char *datacenter, bool old,
                   struct failover_place *ret_place);

/* Whether a view can answer this lookup. */
typedef bool failover_usable_fn(const struct catalog_view *view, void *context);

/* Where a lookup of the service is answered: at home if that has what is asked for and is not held
 * down, else where it stays if that has it, else in the first datacenter of the policy that has it,
 * else at home. source NULL: at home. Inside an epoch section. */
struct failover_place failover_find(const struct failover_source *source,
                                    const struct catalog_view *home, const char *service,
                                    failover_usable_fn *usable, void *context, struct arena *arena);

/* For failover_core_step. Names live as long as source's state and the arena. */
void failover_judge(const struct failover_source *source, const struct catalog_view *home,
                    const char *service, const char *where, bool passing, struct arena *arena,
                    struct failover_judged *ret);

/* Whether the service has an instance that is not critical; passing: that passes. */
bool failover_is_healthy(const struct catalog_view *view, const char *service, bool passing);

#endif
