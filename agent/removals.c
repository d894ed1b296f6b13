#include "agent/removals.h"

#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/container.h"
#include "base/mem.h"

#define TELL_AGAIN_MS 60000 /* the pool forgets tombstones after a time */
#define RETRY_MS 5000       /* of what no leader has committed yet */
#define RETRIES_MAX 64      /* at once */

/* ---- from the catalog to the pool ---- */

static bool tell_pool(const struct catalog_removal *removal, void *context) {
    struct agent *agent = context;
    struct uuid id;
    if (uuid_parse(removal->id, &id)) {
        struct gossip_incarnation incarnation = {removal->boot_epoch, removal->counter};
        pool_tombstone(agent->pools->lan.pool, &id, incarnation, removal->prune);
    }
    return true;
}

static void tell_all(struct agent *agent) {
    epoch_enter(agent->epoch);
    const struct catalog_view *view = catalog_view(agent->catalog);
    agent->removals_seen = view_index_removals(view);
    view_walk_removals(view, tell_pool, agent);
    epoch_exit(agent->epoch);
    if (agent->removals_seen > 0) {
        loop_timer_start(agent->loop, &agent->removals_timer,
                         loop_now_ms(agent->loop) + TELL_AGAIN_MS);
    }
}

static void tell_again(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, removals_timer);
    if (!agent->stopping) {
        tell_all(agent);
    }
}

void removals_turn_end(struct agent *agent) {
    if (agent->pools == NULL || agent->stopping) {
        return;
    }
    epoch_enter(agent->epoch);
    bool changed = view_index_removals(catalog_view(agent->catalog)) != agent->removals_seen;
    epoch_exit(agent->epoch);
    if (changed) {
        tell_all(agent);
    }
}

/* ---- an operator's word ---- */

/* One call; several members may have its name. */
struct forced {
    struct backend_call *call;
    void (*done)(void *context);
    void *context;
    uint32_t waiting; /* members that it is not answered about yet */
};

struct removing {
    struct group_proposal proposal; /* first */
    struct removing *next;          /* of the same name; then of those that wait for a leader */
    struct agent *agent;
    struct forced *forced; /* NULL: answered */
    struct uuid member;
    struct gossip_incarnation incarnation;
    int64_t at_ms;
    bool prune;
    char id[UUID_TEXT_BYTES];
    char name[LIMIT_GOSSIP_NAME_BYTES + 1];
};

static void tell_members(struct agent *agent, const struct uuid *id, bool prune) {
    struct pools *pools = agent->pools;
    (void)pool_force_leave(pools->lan.pool, id, prune);
    if (pools->wan.pool != NULL) { /* a server is in both */
        (void)pool_force_leave(pools->wan.pool, id, prune);
    }
}

static void answer_one(struct forced *forced) {
    if (--forced->waiting == 0) {
        forced->done(forced->context);
        free(forced);
    }
}

static void answer(struct removing *removing, enum err err, const struct err_text *text) {
    struct forced *forced = removing->forced;
    if (forced != NULL) {
        removing->forced = NULL;
        if (err != ERR_OK && forced->call->err == ERR_OK) {
            forced->call->err = err;
            forced->call->text = *text;
        }
        answer_one(forced);
    }
}

static uint32_t count_waiting(const struct agent *agent) {
    uint32_t count = 0;
    for (const struct removing *at = agent->removals_waiting; at != NULL; at = at->next) {
        count++;
    }
    return count;
}

static void committed(struct group_proposal *proposal, enum err err, const struct err_text *text);

static void propose(struct removing *removing) {
    struct catalog_command command = {.kind = COMMAND_REMOVAL,
                                      .removal = {.id = removing->id,
                                                  .name = removing->name,
                                                  .boot_epoch = removing->incarnation.boot_epoch,
                                                  .counter = removing->incarnation.counter,
                                                  .prune = removing->prune,
                                                  .at_ms = removing->at_ms}};
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    removing->proposal = (struct group_proposal){.done = committed};
    removing->proposal.data = (uint8_t *)buf_take(&out, &removing->proposal.size);
    agent_propose(removing->agent, &removing->proposal);
}

static void retry(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, removals_retry_timer);
    struct removing *waiting = agent->removals_waiting;
    agent->removals_waiting = NULL;
    while (waiting != NULL) {
        struct removing *removing = waiting;
        waiting = removing->next;
        propose(removing);
    }
}

static void committed(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct removing *removing = (struct removing *)proposal;
    struct agent *agent = removing->agent;
    bool again = err != ERR_OK && err != ERR_REFUSED && !agent->stopping &&
                 count_waiting(agent) < RETRIES_MAX;
    tell_members(agent, &removing->member, removing->prune);
    if (!again) {
        answer(removing, err, text);
        free(removing);
        return;
    }
    if (removing->forced != NULL) {
        log_write(agent->log, LOG_WARN, "agent.server",
                  "forced leave is told to the members, but not committed yet: node=%s "
                  "error=\"%s\"",
                  removing->name, text->s);
    }
    answer(removing, ERR_OK, text);
    removing->next = agent->removals_waiting;
    agent->removals_waiting = removing;
    loop_timer_start(agent->loop, &agent->removals_retry_timer,
                     loop_now_ms(agent->loop) + RETRY_MS);
}

static struct removing *begin(struct agent *agent, const struct gossip_member *member, bool prune) {
    struct removing *removing = mem_calloc(1, sizeof *removing);
    *removing = (struct removing){.agent = agent,
                                  .member = member->descriptor->info.id,
                                  .incarnation = member->incarnation,
                                  .at_ms = clock_wall_ms(),
                                  .prune = prune};
    uuid_format(&removing->member, removing->id);
    strncat(removing->name, member->descriptor->info.name, sizeof removing->name - 1);
    return removing;
}

enum { ALIVE = 1, DEAD = 2, LEFT = 4 };

static unsigned state_of(const struct gossip_member *member) {
    if (!member->self && member->state == GOSSIP_LEFT) {
        return LEFT;
    }
    bool dead = member->state == GOSSIP_DEAD || (member->state == GOSSIP_SUSPECT && member->frozen);
    return !member->self && dead ? DEAD : ALIVE;
}

/* All that have the name and one of the states: a machine that was wiped has another id. */
static struct removing *find_members(struct agent *agent, const struct member_pool *pool,
                                     const struct backend_call *call, unsigned states) {
    const struct gossip *gossip = pool_gossip(pool->pool);
    struct removing *found = NULL;
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        struct gossip_member member;
        if (gossip_member_at(gossip, i, &member) && (state_of(&member) & states) != 0 &&
            pools_has_name(agent, pool, &member, call->force_leave.name)) {
            struct removing *removing = begin(agent, &member, call->force_leave.prune);
            removing->next = found;
            found = removing;
        }
    }
    return found;
}

/* Nothing is committed: members of the WAN pool, or alive, which the pool refuses. */
static void tell(struct agent *agent, struct member_pool *pool, struct removing *found) {
    while (found != NULL) {
        struct removing *removing = found;
        found = removing->next;
        (void)pool_force_leave(pool->pool, &removing->member, removing->prune);
        free(removing);
    }
    pools_turn_end(agent); /* who is answered sees it */
}

static void remove_all(struct removing *found, struct backend_call *call,
                       void (*done)(void *context), void *context) {
    struct forced *forced = mem_alloc(sizeof *forced);
    *forced = (struct forced){call, done, context, 1};
    while (found != NULL) {
        struct removing *removing = found;
        found = removing->next;
        removing->next = NULL;
        removing->forced = forced;
        forced->waiting++;
        propose(removing);
    }
    answer_one(forced);
}

void removals_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                  void *context) {
    struct member_pool *pool =
        pools_pool_of(agent, call, call->force_leave.wan,
                      "Must be a server to force-leave a node from the WAN cluster");
    if (pool == NULL) {
        done(context);
        return;
    }
    /* To have left is all that is asked of those who have, unless they are to be forgotten. */
    struct removing *found =
        find_members(agent, pool, call, call->force_leave.prune ? DEAD | LEFT : DEAD);
    found = found != NULL ? found : find_members(agent, pool, call, LEFT);
    bool gone = found != NULL;
    if (!gone) {
        found = find_members(agent, pool, call, ALIVE);
    }
    if (found == NULL) {
        call->err = err_set(&call->text, ERR_REFUSED, "agent: No node found with name '%.128s'",
                            call->force_leave.name);
        done(context);
        return;
    }
    log_write(agent->log, LOG_INFO, "agent.server", "Force leaving node: node=%s",
              call->force_leave.name);
    if (gone && !pool->wan) {
        remove_all(found, call, done, context);
    } else {
        tell(agent, pool, found);
        done(context);
    }
}

/* ---- life ---- */

void removals_init(struct agent *agent) {
    agent->removals_timer.run = tell_again;
    agent->removals_retry_timer.run = retry;
}

void removals_stop(struct agent *agent) {
    if (agent->loop != NULL) {
        loop_timer_stop(agent->loop, &agent->removals_timer);
        loop_timer_stop(agent->loop, &agent->removals_retry_timer);
    }
    while (agent->removals_waiting != NULL) {
        struct removing *removing = agent->removals_waiting;
        agent->removals_waiting = removing->next;
        free(removing);
    }
}
