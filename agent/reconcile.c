#include "agent/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "agent/group.h"
#include "agent/reconcile_judge.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define MODULE "agent.leader"
#define EVERY_MS 60000 /* full comparisons */
#define RETRY_MS 1000
#define NODES_MS 1000 /* after a change of the catalog's nodes, by others or by a late word */
/* A row had changed meanwhile: the view has it by then. Doubles while it goes on so. */
#define STALE_MS 50
#define STALE_DOUBLINGS 10
/* Who is in the catalog and in no pool was forgotten by it; a leader that has led for so long has
 * met all that are there. */
#define REAP_AFTER_MS 120000
#define UNDER_WAY_MAX 512        /* commands; the rest waits for them */
#define REMOVAL_SETTLES_MS 30000 /* a removed member that is alive by then has come back */
/* A removed member's node that came after its removal is that of its return, whose news of a member
 * may come later, or a late word of its agent. */
#define RETURN_HEARD_MS 10000

/* A node that has come after the removal of its member, which is in no pool. */
struct returning {
    char id[UUID_TEXT_BYTES];
    uint64_t create_index;
    int64_t since_ms;
};

struct returning_list { /* sorted by id */
    struct returning *v;
    uint32_t count, capacity;
};

struct reconcile {
    struct reconcile_config config;
    struct returning_list returning;
    struct loop_timer timer;
    bool leader;
    unsigned under_way;  /* commands */
    bool again;          /* something has changed since they were made */
    int64_t again_at_ms; /* not before */
    bool stale;          /* one of the commands was, */
    unsigned stale_runs; /* and so were those before */
    int64_t due_at_ms;   /* of the timer; INT64_MAX: it rests */
    int64_t looked_at_ms;
    uint64_t seen, seen_removals, seen_nodes; /* versions and indexes that were last compared */
    int64_t leads_since_ms, full_at_ms, clash_logged_ms;
    struct metric *full_timing, *member_timing;
};

struct telling {
    struct group_proposal proposal; /* first */
    struct reconcile *reconcile;
    struct catalog_result result;
};

/* At the latest. */
static void look_at(struct reconcile *reconcile, int64_t at_ms) {
    if (at_ms < reconcile->due_at_ms) {
        reconcile->due_at_ms = at_ms;
        loop_timer_start(reconcile->config.loop, &reconcile->timer, at_ms);
    }
}

/* ---- commands ---- */

static void look_again(struct reconcile *reconcile, int64_t after_ms) {
    int64_t at_ms = loop_now_ms(reconcile->config.loop) + after_ms;
    reconcile->again_at_ms =
        !reconcile->again || at_ms > reconcile->again_at_ms ? at_ms : reconcile->again_at_ms;
    reconcile->again = true;
}

static void told(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct telling *telling = (struct telling *)proposal;
    struct reconcile *reconcile = telling->reconcile;
    reconcile->stale |= telling->result.failure_count > 0;
    catalog_result_clear(&telling->result);
    free(telling);
    reconcile->under_way--;
    if (err != ERR_OK && err != ERR_CLOSED && reconcile->leader) {
        log_write(reconcile->config.log, LOG_WARN, MODULE,
                  "failed to reconcile a member: error=\"%s\"", text->s);
        look_again(reconcile, RETRY_MS);
    }
    if (reconcile->under_way > 0) {
        return;
    }
    if (reconcile->stale) {
        look_again(reconcile, STALE_MS << reconcile->stale_runs);
        reconcile->stale_runs += reconcile->stale_runs < STALE_DOUBLINGS;
    } else {
        reconcile->stale_runs = 0;
    }
    reconcile->stale = false;
    if (reconcile->again && reconcile->leader) {
        look_at(reconcile, reconcile->again_at_ms);
    }
}

static void tell(struct reconcile *reconcile, const struct catalog_command *command) {
    struct telling *telling = mem_calloc(1, sizeof *telling);
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    telling->reconcile = reconcile;
    telling->proposal.data = (uint8_t *)buf_take(&out, &telling->proposal.size);
    telling->proposal.outcome = &telling->result;
    telling->proposal.timing = reconcile->member_timing;
    telling->proposal.done = told;
    reconcile->under_way++;
    group_propose(reconcile->config.group, &telling->proposal);
}

static bool is_full(const struct reconcile *reconcile) {
    return reconcile->under_way >= UNDER_WAY_MAX;
}

/* ---- members ---- */

static void note_clash(struct reconcile *reconcile, const struct backend_member *member) {
    int64_t now_ms = loop_now_ms(reconcile->config.loop);
    if (now_ms - reconcile->clash_logged_ms >= EVERY_MS) {
        reconcile->clash_logged_ms = now_ms;
        log_write(reconcile->config.log, LOG_WARN, MODULE,
                  "the node's name is another machine's, which is alive: member=%s address=%s",
                  member->name, member->ip);
    }
}

static void compare_member(struct reconcile *reconcile, const struct catalog_view *view,
                           const struct reconcile_members *members,
                           const struct backend_member *member, struct arena *arena) {
    static const char *const what[] = {
        [RECONCILE_JOINED] = "member joined, marking health passing",
        [RECONCILE_MOVED] = "member joined, the node's address or id changes",
        [RECONCILE_FAILED] = "member failed, marking health critical",
        [RECONCILE_LEFT] = "deregistering member: reason=left"};
    struct catalog_command command;
    enum reconcile_verdict verdict = reconcile_judge_member(view, members, member, arena, &command);
    if (verdict == RECONCILE_CLASH) {
        note_clash(reconcile, member);
    } else if (verdict != RECONCILE_SAME) {
        log_write(reconcile->config.log, LOG_INFO, MODULE, "%s%s member=%s", what[verdict],
                  verdict == RECONCILE_LEFT ? "" : ":", member->name);
        tell(reconcile, &command);
    }
}

/* ---- those that are no members ---- */

struct looking {
    struct reconcile *reconcile;
    const struct catalog_view *view;
    struct reconcile_members members;
    struct returning_list returning;
    struct catalog_removal ended[LIMIT_REMOVALS_PER_COMMAND];
    uint32_t ended_count;
    int64_t wall_ms;
    bool full;
};

static void deregister(struct looking *looking, const struct catalog_node *node, const char *why) {
    struct catalog_command command = reconcile_deregister(node);
    log_write(looking->reconcile->config.log, LOG_INFO, MODULE,
              "deregistering member: reason=%s member=%s", why, node->name);
    tell(looking->reconcile, &command);
}

static bool reap(const struct catalog_node *node, void *context) {
    struct looking *looking = context;
    if (reconcile_is_forgotten(looking->view, node, &looking->members) &&
        view_get_removal(looking->view, node->id) == NULL) { /* see judge_removal */
        deregister(looking, node, "reaped");
    }
    return !is_full(looking->reconcile);
}

static bool is_alive(const struct backend_pool *pool, const char *id) {
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->members[i].status == MEMBER_ALIVE &&
            strcmp(str_or_empty(str_map_get(&pool->members[i].tags, "id")), id) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_returning(const void *id, const void *returning) {
    return strcmp(id, ((const struct returning *)returning)->id);
}

static void put_returning(struct returning_list *list, const struct returning *returning) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        list->v = mem_realloc(list->v, list->capacity * sizeof *list->v);
    }
    list->v[list->count++] = *returning;
}

/* Of a member that is in no pool. What was there when it was removed is over; what has come since
 * has some time to be heard of as a member again. */
static bool is_removed(struct looking *looking, const struct catalog_removal *removal,
                       const struct catalog_node *node) {
    struct reconcile *reconcile = looking->reconcile;
    int64_t now_ms = loop_now_ms(reconcile->config.loop);
    /* Equal once both were restored from a snapshot: nobody knows which was first. */
    if (node->create_index < removal->modify_index) {
        return true;
    }
    const struct returning_list *known = &reconcile->returning;
    const struct returning *was = known->count > 0 ? bsearch(removal->id, known->v, known->count,
                                                             sizeof known->v[0], compare_returning)
                                                   : NULL;
    struct returning returning = {.create_index = node->create_index, .since_ms = now_ms};
    strncat(returning.id, removal->id, sizeof returning.id - 1);
    if (was != NULL && was->create_index == node->create_index) {
        returning.since_ms = was->since_ms;
    }
    put_returning(&looking->returning, &returning);
    int64_t heard_ms = returning.since_ms + RETURN_HEARD_MS;
    int64_t met_ms = reconcile->leads_since_ms + REAP_AFTER_MS;
    heard_ms = heard_ms > met_ms ? heard_ms : met_ms;
    if (now_ms < heard_ms) {
        look_at(reconcile, heard_ms);
    }
    return now_ms >= heard_ms;
}

/* Whom an operator has removed and the pool lists no more is deregistered. The row goes when the
 * member has come back, or when nobody remembers that life of it. */
static bool judge_removal(const struct catalog_removal *removal, void *context) {
    struct looking *looking = context;
    bool member = reconcile_has_member(&looking->members, removal->id);
    const struct catalog_node *node = view_get_node_by_id(looking->view, removal->id);
    if (!member && node != NULL && is_removed(looking, removal, node)) {
        deregister(looking, node, "removed");
    }
    int64_t age_ms = looking->wall_ms - removal->at_ms;
    int64_t keep_ms = looking->reconcile->config.keep_removals_ms;
    bool over = age_ms > keep_ms || age_ms < -keep_ms;
    if (looking->full && looking->ended_count < LIMIT_REMOVALS_PER_COMMAND &&
        (over ||
         (age_ms > REMOVAL_SETTLES_MS && member && is_alive(looking->members.pool, removal->id)))) {
        looking->ended[looking->ended_count++] = *removal;
    }
    return !is_full(looking->reconcile);
}

static void end_removals(struct looking *looking) {
    struct catalog_command command = {.kind = COMMAND_REMOVAL_END,
                                      .removal_end = {looking->ended, looking->ended_count}};
    if (looking->ended_count > 0) {
        log_write(looking->reconcile->config.log, LOG_DEBUG, MODULE,
                  "forgetting removed members: count=%u", looking->ended_count);
        tell(looking->reconcile, &command);
    }
}

/* ---- when ---- */

/* Everything; full: also what only time changes. */
static void look_at_all(struct reconcile *reconcile, const struct backend_pool *pool,
                        const struct catalog_view *view, bool full) {
    struct arena arena;
    struct looking looking = {
        .reconcile = reconcile, .view = view, .full = full, .wall_ms = clock_wall_ms()};
    arena_init(&arena);
    reconcile_members_init(&looking.members, pool, &arena);
    for (uint32_t i = 0; i < pool->count && !is_full(reconcile); i++) {
        if (i != pool->self || pool->members[i].status == MEMBER_ALIVE) {
            compare_member(reconcile, view, &looking.members, &pool->members[i], &arena);
        }
    }
    view_walk_removals(view, judge_removal, &looking);
    free(reconcile->returning.v);
    reconcile->returning = looking.returning;
    if (loop_now_ms(reconcile->config.loop) - reconcile->leads_since_ms >= REAP_AFTER_MS) {
        view_walk_nodes(view, reap, &looking);
    }
    end_removals(&looking);
    if (is_full(reconcile)) {
        look_again(reconcile, 0);
    }
    arena_clear(&arena);
}

static void look(struct loop_timer *timer) {
    struct reconcile *reconcile = CONTAINER_OF(timer, struct reconcile, timer);
    const struct backend *backend = reconcile->config.backend;
    int64_t now_ms = loop_now_ms(reconcile->config.loop);
    reconcile->due_at_ms = INT64_MAX;
    if (!reconcile->leader) {
        return;
    }
    if (reconcile->under_way > 0) {
        look_again(reconcile, 0); /* once these are done */
        return;
    }
    bool full = now_ms >= reconcile->full_at_ms;
    uint64_t began_ns = metrics_clock_ns();
    reconcile->again = false;
    reconcile->looked_at_ms = now_ms;
    reconcile->full_at_ms = full ? now_ms + EVERY_MS : reconcile->full_at_ms;
    look_at(reconcile, reconcile->full_at_ms);
    epoch_enter(backend->epoch);
    const struct catalog_view *view = catalog_view(backend->catalog);
    const struct backend_pool *pool = backend->lan;
    reconcile->seen = pool != NULL ? pool->version : 0;
    reconcile->seen_removals = view_index_removals(view);
    reconcile->seen_nodes = view_index_nodes(view);
    if (pool != NULL) {
        look_at_all(reconcile, pool, view, full);
    }
    epoch_exit(backend->epoch);
    if (full) {
        metric_sample(reconcile->full_timing, metrics_ms_since(began_ns, metrics_clock_ns()));
    }
}

void reconcile_lead(struct reconcile *reconcile, bool leader) {
    int64_t now_ms = loop_now_ms(reconcile->config.loop);
    reconcile->leader = leader;
    reconcile->again = false;
    reconcile->returning.count = 0;
    if (leader) {
        reconcile->leads_since_ms = reconcile->full_at_ms = now_ms;
        look_at(reconcile, now_ms);
    } else {
        reconcile->due_at_ms = INT64_MAX;
        loop_timer_stop(reconcile->config.loop, &reconcile->timer);
    }
}

void reconcile_turn_end(struct reconcile *reconcile) {
    const struct backend *backend = reconcile->config.backend;
    if (!reconcile->leader) {
        return;
    }
    epoch_enter(backend->epoch);
    const struct catalog_view *view = catalog_view(backend->catalog);
    const struct backend_pool *pool = backend->lan;
    uint64_t seen = pool != NULL ? pool->version : 0;
    uint64_t removals = view_index_removals(view), nodes = view_index_nodes(view);
    epoch_exit(backend->epoch);
    if (seen != reconcile->seen || removals != reconcile->seen_removals) {
        reconcile->seen = seen;
        reconcile->seen_removals = removals;
        look_at(reconcile, loop_now_ms(reconcile->config.loop));
    }
    if (nodes != reconcile->seen_nodes) {
        reconcile->seen_nodes = nodes;
        look_at(reconcile, reconcile->looked_at_ms + NODES_MS);
    }
}

struct reconcile *reconcile_create(const struct reconcile_config *config) {
    struct reconcile *reconcile = mem_calloc(1, sizeof *reconcile);
    reconcile->config = *config;
    reconcile->timer.run = look;
    reconcile->due_at_ms = INT64_MAX;
    reconcile->clash_logged_ms = -EVERY_MS;
    reconcile->full_timing = metrics_add(config->metrics, METRIC_SAMPLE, "leader.reconcile",
                                         "Full comparison of members and catalog.", NULL, 0);
    reconcile->member_timing = metrics_add(config->metrics, METRIC_SAMPLE, "leader.reconcileMember",
                                           "A change of a member, told to the catalog.", NULL, 0);
    return reconcile;
}

void reconcile_destroy(struct reconcile *reconcile) {
    if (reconcile != NULL) {
        loop_timer_stop(reconcile->config.loop, &reconcile->timer);
        free(reconcile->returning.v);
        free(reconcile);
    }
}
