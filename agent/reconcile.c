#include "agent/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "agent/group.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define MODULE "agent.leader"
#define CHECK_ID "serfHealth"
#define EVERY_MS 60000 /* full comparisons */
#define RETRY_MS 1000
/* Who is in the catalog and in no pool was forgotten by it; a leader that has led for so long has
 * met all that are there. */
#define REAP_AFTER_MS 120000

struct reconcile {
    struct reconcile_config config;
    struct loop_timer timer;
    bool leader, failed;
    unsigned under_way;              /* commands */
    const struct backend_pool *seen; /* members that were last compared */
    int64_t leads_since_ms;
};

struct telling {
    struct group_proposal proposal; /* first */
    struct reconcile *reconcile;
};

static void run_at(struct reconcile *reconcile, int64_t at_ms) {
    loop_timer_start(reconcile->config.loop, &reconcile->timer, at_ms);
}

/* ---- commands ---- */

static void told(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct telling *telling = (struct telling *)proposal;
    struct reconcile *reconcile = telling->reconcile;
    free(telling);
    reconcile->under_way--;
    if (err != ERR_OK && err != ERR_CLOSED) {
        log_write(reconcile->config.log, LOG_WARN, MODULE,
                  "failed to reconcile a member: error=\"%s\"", text->s);
        reconcile->failed = true;
    }
    if (reconcile->under_way == 0 && reconcile->failed && reconcile->leader) {
        reconcile->failed = false;
        run_at(reconcile, loop_now_ms(reconcile->config.loop) + RETRY_MS);
    }
}

static void tell(struct reconcile *reconcile, const struct catalog_command *command) {
    struct telling *telling = mem_calloc(1, sizeof *telling);
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    telling->reconcile = reconcile;
    telling->proposal.data = (uint8_t *)buf_take(&out, &telling->proposal.size);
    telling->proposal.done = told;
    reconcile->under_way++;
    group_propose(reconcile->config.group, &telling->proposal);
}

/* ---- members ---- */

static const char *id_of(const struct backend_member *member) {
    return str_or_empty(str_map_get(&member->tags, "id"));
}

/* The node of this member; NULL: none, or its name belongs to another machine. */
static const struct catalog_node *node_of(const struct catalog_view *view,
                                          const struct backend_member *member) {
    const struct catalog_node *node = view_get_node(view, member->name);
    bool other = node != NULL && *node->id != '\0' && !str_equal_fold(node->id, id_of(member));
    return other ? NULL : node;
}

static void set_health(struct reconcile *reconcile, const struct catalog_view *view,
                       const struct backend_member *member, const char *status,
                       const char *output) {
    const struct catalog_node *node = node_of(view, member);
    const struct catalog_check *known = view_get_check(view, member->name, CHECK_ID);
    bool alive = strcmp(status, "passing") == 0;
    bool taken = node == NULL && view_get_node(view, member->name) != NULL;
    if (taken || (node == NULL && !alive) ||
        (node != NULL && known != NULL && strcmp(known->status, status) == 0)) {
        return;
    }
    struct catalog_check check = {.node = "",
                                  .id = CHECK_ID,
                                  .name = "Serf Health Status",
                                  .status = status,
                                  .notes = "",
                                  .output = output,
                                  .service_id = "",
                                  .service_name = "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = (struct catalog_node){
        .id = id_of(member), .name = member->name, .address = member->ip, .region = "", .zone = ""};
    command.reg.skip_node_update = node != NULL;
    command.reg.checks = &check;
    command.reg.check_count = 1;
    log_write(reconcile->config.log, LOG_INFO, MODULE, "member %s, marking health %s: member=%s",
              alive ? "joined" : "failed", status, member->name);
    tell(reconcile, &command);
}

static void deregister(struct reconcile *reconcile, const char *node, const char *why) {
    struct catalog_command command = {.kind = COMMAND_DEREGISTER,
                                      .dereg = {.node = node, .service_id = "", .check_id = ""}};
    log_write(reconcile->config.log, LOG_INFO, MODULE, "deregistering member: member=%s reason=%s",
              node, why);
    tell(reconcile, &command);
}

static void compare_member(struct reconcile *reconcile, const struct catalog_view *view,
                           const struct backend_member *member) {
    switch (member->status) {
    case 1: /* alive */
        set_health(reconcile, view, member, "passing", "Agent alive and reachable");
        break;
    case 3: /* left */
        if (node_of(view, member) != NULL) {
            deregister(reconcile, member->name, "left");
        }
        break;
    case 4: /* failed */
        set_health(reconcile, view, member, "critical", "Agent not live or unreachable");
        break;
    default: /* leaving: soon one or the other */
        break;
    }
}

/* ---- forgotten ones ---- */

struct reaping {
    struct reconcile *reconcile;
    const struct catalog_view *view;
    const struct backend_pool *pool;
};

static bool is_member(const struct backend_pool *pool, const char *name) {
    for (uint32_t i = 0; i < pool->count; i++) {
        if (str_equal_fold(pool->members[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Only nodes with serfHealth are agents; others were registered through the API. */
static bool reap(const struct catalog_node *node, void *context) {
    const struct reaping *reaping = context;
    if (view_get_check(reaping->view, node->name, CHECK_ID) != NULL &&
        !is_member(reaping->pool, node->name)) {
        deregister(reaping->reconcile, node->name, "reaped");
    }
    return true;
}

/* ---- when ---- */

static void compare(struct loop_timer *timer) {
    struct reconcile *reconcile = CONTAINER_OF(timer, struct reconcile, timer);
    const struct backend *backend = reconcile->config.backend;
    int64_t now_ms = loop_now_ms(reconcile->config.loop);
    if (!reconcile->leader) {
        return;
    }
    run_at(reconcile, now_ms + EVERY_MS);
    if (reconcile->under_way > 0) {
        reconcile->failed = true; /* once more when these are done */
        return;
    }
    epoch_enter(backend->epoch);
    const struct backend_pool *pool = backend->lan;
    const struct catalog_view *view = catalog_view(backend->catalog);
    reconcile->seen = pool;
    for (uint32_t i = 0; pool != NULL && i < pool->count; i++) {
        if (i != pool->self) {
            compare_member(reconcile, view, &pool->members[i]);
        }
    }
    if (pool != NULL && now_ms - reconcile->leads_since_ms >= REAP_AFTER_MS) {
        struct reaping reaping = {reconcile, view, pool};
        view_walk_nodes(view, reap, &reaping);
    }
    epoch_exit(backend->epoch);
}

void reconcile_lead(struct reconcile *reconcile, bool leader) {
    reconcile->leader = leader;
    if (leader) {
        reconcile->leads_since_ms = loop_now_ms(reconcile->config.loop);
        run_at(reconcile, reconcile->leads_since_ms);
    } else {
        loop_timer_stop(reconcile->config.loop, &reconcile->timer);
    }
}

void reconcile_turn_end(struct reconcile *reconcile) {
    if (reconcile->leader && reconcile->config.backend->lan != reconcile->seen) {
        reconcile->seen = reconcile->config.backend->lan;
        run_at(reconcile, loop_now_ms(reconcile->config.loop));
    }
}

struct reconcile *reconcile_create(const struct reconcile_config *config) {
    struct reconcile *reconcile = mem_calloc(1, sizeof *reconcile);
    reconcile->config = *config;
    reconcile->timer.run = compare;
    return reconcile;
}

void reconcile_destroy(struct reconcile *reconcile) {
    if (reconcile != NULL) {
        loop_timer_stop(reconcile->config.loop, &reconcile->timer);
        free(reconcile);
    }
}
