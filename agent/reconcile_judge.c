#include "agent/reconcile_judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"

static const char *id_of(const struct backend_member *member) {
    return str_or_empty(str_map_get(&member->tags, "id"));
}

/* Whose name it is: this member's, or anybody's as long as nobody has claimed it. */
static bool is_own(const struct catalog_node *node, const struct backend_member *member) {
    return *node->id == '\0' || str_equal_fold(node->id, id_of(member));
}

struct catalog_check reconcile_agent_check(const char *node, bool alive) {
    return (struct catalog_check){.node = node,
                                  .id = CATALOG_AGENT_CHECK,
                                  .name = "Serf Health Status",
                                  .status = alive ? "passing" : "critical",
                                  .notes = "",
                                  .output = alive ? "Agent alive and reachable"
                                                  : "Agent not live or unreachable",
                                  .service_id = "",
                                  .service_name = "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
}

/* ---- commands ---- */

/* A node that is not there yet. If its agent is first, what that has told stays. */
static struct catalog_command create_node(const struct backend_member *member,
                                          struct arena *arena) {
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct catalog_check *check = arena_alloc(arena, sizeof *check);
    *check = reconcile_agent_check("", true);
    command.reg.node = (struct catalog_node){
        .id = id_of(member), .name = member->name, .address = member->ip, .region = "", .zone = ""};
    command.reg.skip_node_update = true;
    command.reg.checks = check;
    command.reg.check_count = 1;
    return command;
}

/* Rows that are there, or the lack of one, as they were seen: node is NULL where it stays. */
static struct catalog_command change_rows(const struct catalog_node *node,
                                          const struct catalog_check *check, struct arena *arena) {
    struct catalog_operation *operations = arena_alloc(arena, 2 * sizeof *operations);
    enum catalog_row_verb verb = MUTANT(stale_view_counts) ? ROW_SET : ROW_CAS;
    uint32_t count = 0;
    if (node != NULL) {
        operations[count++] =
            (struct catalog_operation){.kind = ROW_NODE, .verb = verb, .node = *node};
    }
    if (check != NULL) {
        operations[count++] =
            (struct catalog_operation){.kind = ROW_CHECK, .verb = verb, .check = *check};
    }
    return (struct catalog_command){.kind = COMMAND_TRANSACTION,
                                    .transaction = {operations, count}};
}

/* The catalog gives a name away only when its owner is dead. */
static struct catalog_command take_over_rows(const struct catalog_check *sick,
                                             const struct catalog_node *node, struct arena *arena) {
    struct catalog_operation *operations = arena_alloc(arena, 3 * sizeof *operations);
    operations[0] = (struct catalog_operation){.kind = ROW_CHECK, .verb = ROW_CAS, .check = *sick};
    operations[1] = (struct catalog_operation){.kind = ROW_NODE, .verb = ROW_CAS, .node = *node};
    operations[2] = (struct catalog_operation){
        .kind = ROW_CHECK, .verb = ROW_SET, .check = reconcile_agent_check(node->name, true)};
    return (struct catalog_command){.kind = COMMAND_TRANSACTION, .transaction = {operations, 3}};
}

struct catalog_command reconcile_deregister(const struct catalog_node *node) {
    return (struct catalog_command){
        .kind = COMMAND_DEREGISTER,
        .dereg = {.node = node->name, .service_id = "", .check_id = ""}};
}

/* ---- judging ---- */

/* The check of the node as it must be; NULL: it is so. */
static const struct catalog_check *differing_check(const struct catalog_view *view,
                                                   const struct catalog_node *node, bool alive,
                                                   struct arena *arena) {
    const struct catalog_check *known = view_get_check(view, node->name, CATALOG_AGENT_CHECK);
    struct catalog_check *check = arena_alloc(arena, sizeof *check);
    *check = reconcile_agent_check(node->name, alive);
    check->modify_index = known != NULL ? known->modify_index : 0;
    return known != NULL && strcmp(known->status, check->status) == 0 ? NULL : check;
}

static bool is_healthy(const struct catalog_view *view, const struct catalog_node *node) {
    const struct catalog_check *check = view_get_check(view, node->name, CATALOG_AGENT_CHECK);
    return check != NULL && catalog_health_of(check->status) != HEALTH_CRITICAL;
}

/* The same address, and the one who had it is no member: a machine that was wiped while nobody who
 * leads now was there to see it die. */
static bool was_wiped(const struct catalog_node *known, const struct reconcile_members *members,
                      const struct backend_member *member) {
    return strcmp(known->address, member->ip) == 0 && !reconcile_has_member(members, known->id);
}

/* Its name is in the catalog. */
static enum reconcile_verdict judge_known(const struct catalog_view *view,
                                          const struct catalog_node *known,
                                          const struct reconcile_members *members,
                                          const struct backend_member *member, struct arena *arena,
                                          struct catalog_command *ret_command) {
    bool own = is_own(known, member);
    bool healthy = is_healthy(view, known);
    if (!own && healthy && !was_wiped(known, members, member)) {
        return RECONCILE_CLASH;
    }
    const struct catalog_check *check = differing_check(view, known, true, arena);
    struct catalog_node *node = NULL;
    if (!own || (MUTANT(agent_row_overwritten) && check != NULL) ||
        strcmp(known->address, member->ip) != 0 || (*known->id == '\0' && *id_of(member) != '\0')) {
        node = arena_alloc(arena, sizeof *node);
        *node = *known; /* the fields of its agent stay */
        node->address = member->ip;
        node->id = id_of(member);
        if (!own || MUTANT(agent_row_overwritten)) { /* another machine's */
            node->tagged_addresses = node->meta = (struct str_map){0};
            node->region = node->zone = "";
            node->unknown = (struct catalog_bytes){0};
        }
    }
    if (MUTANT(critical_for_good) && node == NULL && check != NULL &&
        view_get_check(view, known->name, CATALOG_AGENT_CHECK) != NULL) {
        return RECONCILE_SAME;
    }
    if (MUTANT(told_again_and_again)) {
        check = view_get_check(view, known->name, CATALOG_AGENT_CHECK);
    }
    if (node == NULL && check == NULL) {
        return RECONCILE_SAME;
    }
    *ret_command = !own && healthy
                       ? take_over_rows(differing_check(view, known, false, arena), node, arena)
                       : change_rows(node, check, arena);
    return node != NULL ? RECONCILE_MOVED : RECONCILE_JOINED;
}

static enum reconcile_verdict judge_alive(const struct catalog_view *view,
                                          const struct reconcile_members *members,
                                          const struct backend_member *member, struct arena *arena,
                                          struct catalog_command *ret_command) {
    const struct catalog_node *known = view_get_node(view, member->name);
    if (known != NULL) {
        return judge_known(view, known, members, member, arena, ret_command);
    }
    *ret_command = create_node(member, arena); /* one of another name but its id goes */
    return RECONCILE_JOINED;
}

/* Of a member that is gone, whatever name it had when it was registered last. */
static const struct catalog_node *find_node(const struct catalog_view *view,
                                            const struct backend_member *member) {
    const char *id = id_of(member);
    const struct catalog_node *node = *id != '\0' ? view_get_node_by_id(view, id) : NULL;
    if (node != NULL) {
        return node;
    }
    node = view_get_node(view, member->name);
    return node != NULL && *node->id == '\0' &&
                   view_get_check(view, node->name, CATALOG_AGENT_CHECK) != NULL
               ? node
               : NULL;
}

enum reconcile_verdict reconcile_judge_member(const struct catalog_view *view,
                                              const struct reconcile_members *members,
                                              const struct backend_member *member,
                                              struct arena *arena,
                                              struct catalog_command *ret_command) {
    const struct catalog_node *node;
    const struct catalog_check *check;
    switch (member->status) {
    case MEMBER_ALIVE:
        return judge_alive(view, members, member, arena, ret_command);
    case MEMBER_LEFT:
        node = find_node(view, member);
        if (node == NULL || MUTANT(left_stays)) {
            return RECONCILE_SAME;
        }
        *ret_command = reconcile_deregister(node);
        return RECONCILE_LEFT;
    case MEMBER_FAILED:
        node = MUTANT(dead_unnoticed) ? NULL : find_node(view, member);
        check = node != NULL ? differing_check(view, node, false, arena) : NULL;
        if (check == NULL) {
            return RECONCILE_SAME;
        }
        *ret_command = change_rows(NULL, check, arena);
        return RECONCILE_FAILED;
    default: /* leaving: soon one or the other */
        return RECONCILE_SAME;
    }
}

/* ---- who is a member ---- */

static int compare_ids(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

void reconcile_members_init(struct reconcile_members *members, const struct backend_pool *pool,
                            struct arena *arena) {
    const char **ids = arena_alloc(arena, (pool->count + 1) * sizeof *ids);
    for (uint32_t i = 0; i < pool->count; i++) {
        ids[i] = id_of(&pool->members[i]);
    }
    qsort(ids, pool->count, sizeof *ids, compare_ids);
    *members = (struct reconcile_members){pool, ids};
}

bool reconcile_has_member(const struct reconcile_members *members, const char *id) {
    return bsearch(&id, members->ids, members->pool->count, sizeof *members->ids, compare_ids) !=
           NULL;
}

/* Rare: nodes of agents have ids. */
static bool has_name(const struct backend_pool *pool, const char *name) {
    for (uint32_t i = 0; i < pool->count; i++) {
        if (str_equal_fold(pool->members[i].name, name)) {
            return true;
        }
    }
    return false;
}

bool reconcile_is_forgotten(const struct catalog_view *view, const struct catalog_node *node,
                            const struct reconcile_members *members) {
    if (view_get_check(view, node->name, CATALOG_AGENT_CHECK) == NULL && !MUTANT(external_reaped)) {
        return false;
    }
    if (MUTANT(dead_remembered)) {
        return false;
    }
    return *node->id != '\0' ? !reconcile_has_member(members, node->id)
                             : !has_name(members->pool, node->name);
}
