/* Alias checks (contract 11.4): checks that follow other checks. They run nothing, so the engine
 * knows none of them; the core looks again when what they follow has changed. */
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/node_rows.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define AGAIN_MS (60 * 1000)
/* Aliases may follow aliases, even in a ring, where an output could grow for ever. */
#define PASSES_MAX 8

struct alias {
    struct alias *next;
    char *id, *node, *service; /* node "" = this agent's own registrations */
    uint64_t node_index;       /* of the catalog's node when it was looked at last */
    bool due;
};

static struct alias **place(struct agent *agent, const char *id) {
    struct alias **at = &agent->aliases;
    while (*at != NULL && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void forget(struct alias **at) {
    struct alias *alias = *at;
    *at = alias->next;
    free(alias->id);
    free(alias->node);
    free(alias->service);
    free(alias);
}

void alias_follow(struct agent *agent, const char *id, const struct check_definition *definition) {
    struct alias **at = place(agent, id);
    if (*at != NULL) {
        forget(at);
    }
    if (definition != NULL && check_definition_kind(definition) == CHECK_ALIAS) {
        struct alias *alias = mem_calloc(1, sizeof *alias);
        alias->id = mem_strdup(id);
        alias->node = mem_strdup(definition->alias_node);
        alias->service = mem_strdup(definition->alias_service);
        alias->next = agent->aliases;
        agent->aliases = alias;
        if (alias->next == NULL) {
            loop_timer_start(agent->loop, &agent->alias_timer, loop_now_ms(agent->loop) + AGAIN_MS);
        }
    }
    alias_note_all(agent); /* its checks or its being there: rare enough not to ask which */
}

void alias_clear(struct agent *agent) {
    while (agent->aliases != NULL) {
        forget(&agent->aliases);
    }
    loop_timer_stop(agent->loop, &agent->alias_timer);
}

/* ---- what is due ---- */

void alias_note(struct agent *agent, const char *service_id) {
    for (struct alias *alias = agent->aliases; alias != NULL; alias = alias->next) {
        if (*alias->node == '\0' &&
            (*service_id == '\0' || strcmp(alias->service, service_id) == 0)) {
            alias->due = true;
        }
    }
}

void alias_note_all(struct agent *agent) {
    for (struct alias *alias = agent->aliases; alias != NULL; alias = alias->next) {
        alias->due = true;
        alias->node_index = 0;
    }
}

/* Runs amid an apply: what there is to do is left to a turn of its own. */
void alias_published(struct agent *agent) {
    const struct catalog_view *view = catalog_view(agent->catalog);
    bool due = false;
    for (struct alias *alias = agent->aliases; alias != NULL; alias = alias->next) {
        if (*alias->node != '\0' && view_index_node(view, alias->node) != alias->node_index) {
            alias->due = due = true;
        }
    }
    if (due) {
        loop_timer_start(agent->loop, &agent->alias_timer, loop_now_ms(agent->loop));
    }
}

static void on_timer(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, alias_timer);
    alias_note_all(agent);
    if (agent->aliases != NULL) {
        loop_timer_start(agent->loop, timer, loop_now_ms(agent->loop) + AGAIN_MS);
    }
    if (alias_settle(agent)) {
        agent->local_changed = true;
        sync_run(agent->sync, NULL);
    }
}

void alias_init(struct agent *agent) {
    agent->alias_timer.run = on_timer;
}

/* ---- looking ---- */

struct look {
    const struct alias *alias;
    bool own;   /* the checks are this agent's */
    bool found; /* the service has a check */
    const struct catalog_check *worst;
    enum catalog_health health;
    bool any;
};

static bool look_at(const struct catalog_check *check, void *context) {
    struct look *look = context;
    bool match =
        *look->alias->service != '\0' && strcmp(check->service_id, look->alias->service) == 0;
    if ((*check->service_id != '\0' && !match) ||
        (look->own && strcmp(check->id, look->alias->id) == 0)) {
        return true;
    }
    look->found = look->found || match;
    look->any = true;
    enum catalog_health health = catalog_health_of(check->status);
    if (health > look->health) {
        look->health = health;
        look->worst = check;
    }
    return health != HEALTH_CRITICAL;
}

/* `output` is for the look's lifetime; false: the catalog cannot be asked yet. */
static bool judge(struct agent *agent, struct alias *alias, const struct catalog_view *view,
                  struct look *look, struct buf *output) {
    bool local = *alias->node == '\0';
    *look = (struct look){.alias = alias, .health = HEALTH_PASSING};
    if (local) {
        const struct local_view *mine = local_next_view(agent->local);
        look->own = true;
        local_walk_service_checks(mine, alias->service, look_at, look);
        if (look->health != HEALTH_CRITICAL) {
            local_walk_service_checks(mine, "", look_at, look);
        }
        look->found = look->found || local_get_service(mine, alias->service) != NULL;
    } else if (view == NULL || (agent->group != NULL && !group_had_leader(agent->group))) {
        return false;
    } else {
        alias->node_index = view_index_node(view, alias->node);
        look->own = str_equal_fold(alias->node, agent->facts.node_name);
        view_walk_node_checks(view, alias->node, look_at, look);
        look->found = look->found || *alias->service == '\0' ||
                      view_get_node(view, alias->node) == NULL ||
                      view_get_service(view, alias->node, alias->service) != NULL;
    }
    if (!look->found) {
        look->health = HEALTH_CRITICAL;
        buf_append_format(output, "Service %s could not be found on node %s", alias->service,
                          alias->node);
    } else if (look->worst != NULL) {
        buf_append_format(output, "Aliased check \"%s\" failing: %s", look->worst->name,
                          look->worst->output);
    } else {
        buf_append_str(output, look->any ? "All checks passing." : "No checks found.");
    }
    if (output->count > LIMIT_CHECK_OUTPUT_BYTES) {
        output->count = LIMIT_CHECK_OUTPUT_BYTES;
    }
    buf_append_byte(output, '\0');
    return true;
}

/* Inside an epoch section. NULL: not known yet. */
static const struct catalog_view *view_for(struct agent *agent, const struct alias *alias) {
    if (agent->group != NULL || *alias->node == '\0') {
        return catalog_view(agent->catalog);
    }
    const struct catalog *rows = node_rows_watched(agent, alias->node);
    return rows != NULL ? catalog_view(rows) : NULL;
}

static bool evaluate(struct agent *agent, struct alias *alias) {
    static const char *const names[] = {"passing", "warning", "critical"};
    struct look look;
    struct buf output;
    buf_init(&output, LIMIT_HTTP_BODY_BYTES * 2);
    epoch_enter(agent->epoch);
    bool changed = judge(agent, alias, view_for(agent, alias), &look, &output) && !output.failed &&
                   runners_tell(agent, alias->id, names[look.health], output.data);
    epoch_exit(agent->epoch);
    buf_clear(&output);
    return changed;
}

bool alias_settle(struct agent *agent) {
    bool changed = false, again = agent->aliases != NULL;
    for (int pass = 0; pass < PASSES_MAX && again; pass++) {
        again = false;
        for (struct alias *alias = agent->aliases; alias != NULL; alias = alias->next) {
            if (alias->due) {
                alias->due = false;
                if (evaluate(agent, alias)) {
                    changed = again = true;
                }
            }
        }
    }
    return changed;
}
