/* The servers' group as their agents see it: agent/group.h over a list of entries. A command is
 * appended by the leader, committed once it reaches another server, and applied by each server when
 * the leader's word has come there. Without a majority nothing is committed; a leader that is
 * replaced leaves some of its last commands to the next one and loses the others, and whoever waits
 * for them hears that nobody knows. It may hear of its end late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/carry.h"
#include "agent/removals.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/sim/datacenter/datacenter.h"
#include "tests/sim/rows.h"

#define BEAT_US (50 * MS)
#define ELECT_US (300 * MS)  /* without a leader at least */
#define SILENT_US (900 * MS) /* a server that did nothing for so long stands still */
#define HOLD_TICK_MS 20

/* Not committed yet, at the leader. */
struct pending {
    struct pending *next;
    struct entry entry;
    uint64_t ready_us;
};

struct group_truth {
    struct entry *entries; /* from index 1 */
    uint64_t index, capacity;
    struct catalog *catalog; /* all of them */
    struct pending *first, **last;
    uint64_t commands;
    int leader;
    uint64_t lost_us;
    bool commit_planned;
};

/* A command of this agent's, in the log of the leader that it is or was. */
struct own {
    struct own *next;
    uint64_t command; /* 0: of one that was none any more */
    struct group_proposal *proposal;
};

struct forward {
    struct rpc_request request;
    struct forward *next;
    struct group *group;
    struct group_proposal *proposal;
};

/* A server's part. */
struct group {
    struct server *server;
    struct raft_id self;
    bool leads, refused;
    int known; /* who leads */
    uint64_t heard_us;
    struct rpc_connection *to_leader;
    bool open;
    struct group_proposal *waiting, **waiting_last;
    struct own *own;
    struct forward *forwards;
    struct loop_timer hold_timer;
};

static const struct err_text no_leader = {"No cluster leader"};
static const struct err_text unknown = {"the leader was lost, the outcome is not known"};

int group_leader(const struct world *world) {
    return world->group->leader;
}

const struct catalog_view *group_truth_view(const struct world *world) {
    return catalog_view(world->group->catalog);
}

/* ---- what is committed ---- */

/* Of which node it is; "": of none, or of several. */
const char *group_node_of(const struct catalog_command *command) {
    return command->kind == COMMAND_REGISTER     ? command->reg.node.name
           : command->kind == COMMAND_DEREGISTER ? command->dereg.node
                                                 : "";
}

static bool is_external(const struct catalog_command *command) {
    bool whole = command->kind == COMMAND_DEREGISTER && *command->dereg.service_id == '\0';
    return str_starts_with(group_node_of(command), "ext-") && !whole;
}

static void note_command(struct world *world, struct entry *entry) {
    struct arena arena;
    struct catalog_command command;
    arena_init(&arena);
    enum err err = codec_decode_command(entry->bytes, entry->size, &arena, &command);
    ASSERT(err == ERR_OK);
    entry->external = is_external(&command);
    world->commands++;
    if (world->trace) {
        world_trace(world, "committed %llu: kind %d of '%s' %s",
                    (unsigned long long)world->group->index, (int)command.kind,
                    group_node_of(&command),
                    command.kind == COMMAND_DEREGISTER ? command.dereg.service_id
                    : command.kind == COMMAND_REGISTER && command.reg.service != NULL
                        ? command.reg.service->id
                        : "");
    }
    check_calm_command(world, &command);
    arena_clear(&arena);
}

static void commit_entry(struct world *world, const struct entry *from) {
    struct group_truth *truth = world->group;
    struct err_text text;
    if (++truth->index + 1 >= truth->capacity) {
        truth->capacity = 2 * truth->capacity + 256;
        truth->entries = mem_realloc(truth->entries, truth->capacity * sizeof *truth->entries);
    }
    struct entry *entry = &truth->entries[truth->index];
    *entry = *from;
    note_command(world, entry);
    enum err err =
        catalog_apply(truth->catalog, truth->index, entry->bytes, entry->size, NULL, &text);
    ASSERT(err == ERR_OK || err == ERR_REFUSED);
    catalog_publish(truth->catalog);
    world_note(world, view_row_hash(catalog_view(truth->catalog)));
    check_external(world, entry);
    check_lost(world);
    check_ghost(world);
}

static bool has_majority(const struct world *world, uint32_t at) {
    uint32_t count = 1;
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        count += i != at && world->servers[i].up && net_is_linked(world, at, i);
    }
    return count > SERVER_COUNT / 2;
}

static void plan_commit(struct world *world, uint64_t delay_us) {
    if (!world->group->commit_planned && world->group->first != NULL) {
        world->group->commit_planned = true;
        world_post(world, delay_us, EVENT_COMMIT, NULL);
    }
}

static void apply_all(struct server *server, uint64_t index, uint64_t unused);

static void commit_first(struct world *world) {
    struct group_truth *truth = world->group;
    struct pending *pending = truth->first;
    truth->first = pending->next;
    truth->last = truth->first != NULL ? truth->last : &truth->first;
    commit_entry(world, &pending->entry);
    free(pending);
}

void group_commit(struct world *world) {
    struct group_truth *truth = world->group;
    truth->commit_planned = false;
    if (truth->leader == NOBODY) {
        return;
    }
    struct server *leader = &world->servers[truth->leader];
    if (leader->up && has_majority(world, leader->at)) {
        bool any = false;
        while (truth->first != NULL && truth->first->ready_us <= world->now) {
            commit_first(world);
            any = true;
        }
        if (any) {
            server_do(leader, apply_all, truth->index, 0);
        }
    }
    plan_commit(world, world_between(world, 1 * MS, 20 * MS));
}

/* 0: it leads no more, and does not know. */
static uint64_t append(struct server *server, uint8_t *data, size_t size) {
    struct world *world = server->world;
    struct group_truth *truth = world->group;
    if (truth->leader != (int)server->at) {
        free(data);
        return 0;
    }
    struct pending *pending = mem_calloc(1, sizeof *pending);
    uint64_t most = world_one_in(world, 30) ? 200 * MS : 4 * MS;
    pending->entry = (struct entry){data, size, ++truth->commands, false};
    pending->ready_us = world->now + world_between(world, 300, most);
    *truth->last = pending;
    truth->last = &pending->next;
    plan_commit(world, pending->ready_us - world->now);
    return pending->entry.command;
}

/* ---- what a server applies ---- */

static struct own *take_own(struct group *group, uint64_t command) {
    struct own **at = &group->own;
    while (*at != NULL && (*at)->command != command) {
        at = &(*at)->next;
    }
    struct own *own = *at;
    if (own != NULL) {
        *at = own->next;
    }
    return own;
}

static void finish(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    free(proposal->data);
    proposal->data = NULL;
    proposal->done(proposal, err, text);
}

struct applied {
    struct own *own;
    enum err err;
    struct err_text text;
};

static void apply_all(struct server *server, uint64_t index, uint64_t unused) {
    struct agent *agent = server->agent;
    struct group_truth *truth = server->world->group;
    uint64_t from = view_applied(catalog_view(agent->catalog));
    (void)unused;
    if (index <= from) {
        return;
    }
    struct applied *all = mem_calloc(index - from, sizeof *all);
    uint64_t count = 0;
    for (uint64_t at = from + 1; at <= index; at++) {
        const struct entry *entry = &truth->entries[at];
        struct applied *applied = &all[count++];
        applied->own = agent->group != NULL ? take_own(agent->group, entry->command) : NULL;
        applied->err = catalog_apply(agent->catalog, at, entry->bytes, entry->size,
                                     applied->own != NULL ? applied->own->proposal->outcome : NULL,
                                     &applied->text);
    }
    catalog_publish(agent->catalog);
    server->applied = index;
    for (uint64_t i = 0; i < count; i++) {
        if (all[i].own != NULL) {
            finish(all[i].own->proposal, all[i].err, &all[i].text);
            free(all[i].own);
        }
    }
    free(all);
}

/* ---- proposals ---- */

static int64_t now_ms(const struct group *group) {
    return loop_now_ms(group->server->loop);
}

static void put_waiting(struct group *group, struct group_proposal *proposal) {
    proposal->next = NULL;
    *group->waiting_last = proposal;
    group->waiting_last = &proposal->next;
}

void group_propose(struct group *group, struct group_proposal *proposal) {
    proposal->hold_until_ms = now_ms(group) + LIMIT_LEADER_HOLD_MS;
    put_waiting(group, proposal);
    loop_timer_start(group->server->loop, &group->hold_timer, now_ms(group));
}

static void forwarded(struct rpc_request *request, enum err err, const struct err_text *text,
                      const uint8_t *body, size_t size) {
    struct forward *forward = CONTAINER_OF(request, struct forward, request);
    struct group *group = forward->group;
    struct group_proposal *proposal = forward->proposal;
    struct forward **at = &group->forwards;
    (void)body;
    (void)size;
    while (*at != forward) {
        at = &(*at)->next;
    }
    *at = forward->next;
    free(forward);
    if (err == ERR_NO_LEADER && !group->server->dying) {
        group->refused = true;
        put_waiting(group, proposal);
        loop_timer_start(group->server->loop, &group->hold_timer, now_ms(group) + HOLD_TICK_MS);
    } else if (err == ERR_CLOSED || err == ERR_TIMEOUT) {
        finish(proposal, ERR_TIMEOUT, &unknown);
    } else {
        finish(proposal, err, text);
    }
}

static void forward(struct group *group, struct group_proposal *proposal) {
    struct forward *made = mem_calloc(1, sizeof *made);
    *made = (struct forward){.request = {.done = forwarded},
                             .next = group->forwards,
                             .group = group,
                             .proposal = proposal};
    group->forwards = made;
    enum err err = rpc_request(group->to_leader, &made->request, RPC_METHOD_PROPOSE, proposal->data,
                               proposal->size, LIMIT_FORWARD_MS);
    ASSERT(err == ERR_OK);
}

static void settle(struct group *group, struct group_proposal *proposal) {
    struct world *world = group->server->world;
    if (proposal->data == NULL) {
        finish(proposal, ERR_TOO_LARGE, &no_leader);
    } else if (group->leads && !world->calm && world_one_in(world, 60)) {
        finish(proposal, ERR_OVERLOADED, &no_leader);
    } else if (group->leads) {
        struct own *own = mem_calloc(1, sizeof *own);
        own->proposal = proposal;
        own->command = append(group->server, proposal->data, proposal->size);
        proposal->data = NULL;
        own->next = group->own;
        group->own = own;
    } else if (group->open && !group->refused) {
        forward(group, proposal);
    } else if (proposal->hold_until_ms <= now_ms(group)) {
        finish(proposal, ERR_NO_LEADER, &no_leader);
    } else {
        put_waiting(group, proposal);
    }
}

static void on_hold(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, hold_timer);
    group->refused = false; /* the turn's end goes on */
}

void group_turn_end(struct group *group) {
    struct group_proposal *list = group->waiting;
    group->waiting = NULL;
    group->waiting_last = &group->waiting;
    while (list != NULL) {
        struct group_proposal *next = list->next;
        settle(group, list);
        list = next;
    }
    if (group->waiting != NULL) {
        loop_timer_start(group->server->loop, &group->hold_timer, now_ms(group) + HOLD_TICK_MS);
    }
}

/* ---- of other servers ---- */

struct passed {
    struct group_proposal proposal;
    struct server *server;
    struct rpc_ticket ticket;
};

static void passed_on(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct passed *passed = CONTAINER_OF(proposal, struct passed, proposal);
    rpc_answer(server_rpc(passed->server), passed->ticket, err, text, NULL, 0);
    free(passed);
}

static void on_propose(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct server *server = context;
    struct world *world = server->world;
    (void)from;
    if (!server->agent->group->leads || (!world->calm && world_one_in(world, 40))) {
        rpc_answer(server_rpc(server), ticket, ERR_NO_LEADER, &no_leader, NULL, 0);
        return;
    }
    struct passed *passed = mem_calloc(1, sizeof *passed);
    *passed = (struct passed){.server = server, .ticket = ticket};
    passed->proposal.data = mem_memdup(body, size);
    passed->proposal.size = size;
    passed->proposal.done = passed_on;
    group_propose(server->agent->group, &passed->proposal);
}

void group_serve(struct server *server) {
    static const struct rpc_service propose = {.request = on_propose};
    rpc_serve(server_rpc(server), RPC_METHOD_PROPOSE, &propose, server);
}

static void written(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    (void)err;
    (void)text;
    free(proposal);
}

static void write_now(struct server *server, uint64_t data, uint64_t size) {
    struct group_proposal *proposal = mem_calloc(1, sizeof *proposal);
    proposal->data = (uint8_t *)(uintptr_t)data;
    proposal->size = size;
    proposal->done = written;
    group_propose(server->agent->group, proposal);
}

void group_write(struct server *server, const struct catalog_command *command) {
    size_t size = 0;
    uint8_t *data = row_encode(command, &size);
    server_enter(server);
    write_now(server, (uint64_t)(uintptr_t)data, size);
}

/* ---- who leads ---- */

static void answer_own(struct group *group, enum err err) {
    while (group->own != NULL) {
        struct own *own = group->own;
        group->own = own->next;
        finish(own->proposal, err, &unknown);
        free(own);
    }
}

static void opened(void *context, struct rpc_connection *connection) {
    struct group *group = context;
    (void)connection;
    group->open = true;
}

static void closed(void *context, struct rpc_connection *connection, enum err err,
                   const struct err_text *text) {
    struct group *group = context;
    struct world *world = group->server->world;
    (void)connection;
    (void)err;
    (void)text;
    group->to_leader = NULL;
    group->open = false;
    world_post(world, world_between(world, 20 * MS, 300 * MS), EVENT_CONNECT_LEADER, group->server);
}

static void connect_leader(struct server *server, uint64_t a, uint64_t b) {
    static const struct rpc_events events = {.opened = opened, .closed = closed};
    struct group *group = server->agent->group;
    (void)a;
    (void)b;
    if (group->to_leader == NULL && group->known != NOBODY && !group->leads) {
        struct addr addr = sim_rpc_addr(&server->world->servers[group->known]);
        group->to_leader = rpc_connect(server_rpc(server), &addr, NULL, &events, group);
    }
}

void group_connect_leader(struct server *server) {
    server_do(server, connect_leader, 0, 0);
}

static void leave_leader(struct group *group) {
    struct rpc_connection *connection = group->to_leader;
    group->to_leader = NULL;
    group->open = false;
    if (connection != NULL) {
        rpc_close(connection);
    }
}

static void set_leader(struct group *group, int leader) {
    struct server *server = group->server;
    bool leads = leader == (int)server->at, led = group->leads, knew = group->known != NOBODY;
    if (leader == group->known && leads == led) {
        return;
    }
    if (leads) {
        apply_all(server, server->world->group->index, 0);
    }
    leave_leader(group);
    group->known = leader;
    group->leads = leads;
    if (leads != led) {
        world_trace(server->world, "%s %s", server->name, leads ? "leads" : "leads no more");
        reconcile_lead(server->agent->reconcile, leads);
    }
    if (led && !leads) {
        answer_own(group, ERR_TIMEOUT);
    }
    connect_leader(server, 0, 0);
    if (leader != NOBODY && !knew) {
        sync_full(server->agent->sync);
    }
}

static void lead(struct server *server, uint64_t index, uint64_t unused) {
    (void)unused;
    if (server->world->group->leader == (int)server->at) {
        set_leader(server->agent->group, (int)server->at);
    }
    apply_all(server, index, 0);
}

static void heard(struct server *server, uint64_t index, uint64_t leader) {
    struct group *group = server->agent->group;
    group->heard_us = server->world->now;
    if (server->world->group->leader == (int)leader) {
        set_leader(group, (int)leader);
    }
    apply_all(server, index, 0);
}

void group_append(struct server *server, const struct event *event) {
    server_do(server, heard, event->a, event->b);
}

static void forget(struct server *server, uint64_t a, uint64_t b) {
    (void)a;
    (void)b;
    set_leader(server->agent->group, NOBODY);
}

void group_forget_leader(struct server *server) {
    server_do(server, forget, 0, 0);
}

void group_beat(struct world *world) {
    struct group_truth *truth = world->group;
    world_post(world, BEAT_US, EVENT_BEAT, NULL);
    if (truth->leader == NOBODY || !world->servers[truth->leader].up ||
        world->now - world->servers[truth->leader].turned_us > SILENT_US) {
        return;
    }
    struct server *leader = &world->servers[truth->leader];
    server_do(leader, lead, truth->index, 0);
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        const struct link *link = &world->links[leader->at][i];
        if (i != leader->at && world->servers[i].up && !link->cut && !world_one_in(world, 10) &&
            rand_below(&world->rand, 1000) >= link->drop_per_1000) {
            struct event *event =
                world_post(world, link->delay_us + rand_below(&world->rand, link->jitter_us + 1),
                           EVENT_APPEND, &world->servers[i]);
            event->a = truth->index;
            event->b = leader->at;
        }
    }
}

void group_depose(struct world *world, uint64_t hears_us) {
    struct group_truth *truth = world->group;
    uint32_t count = 0;
    if (truth->leader == NOBODY) {
        return;
    }
    struct server *old = &world->servers[truth->leader];
    for (const struct pending *at = truth->first; at != NULL; at = at->next) {
        count++;
    }
    /* What another one has, the next leader commits. */
    uint64_t kept = rand_below(&world->rand, count + 1);
    struct pending **at = &truth->first;
    for (; kept > 0; kept--) {
        at = &(*at)->next;
    }
    struct pending *lost = *at;
    *at = NULL;
    truth->last = at;
    while (lost != NULL) {
        struct pending *next = lost->next;
        free(lost->entry.bytes);
        free(lost);
        lost = next;
    }
    truth->leader = NOBODY;
    truth->lost_us = world->now;
    world_disturb(world);
    if (old->up) {
        world_post(world, hears_us, EVENT_KNOWS, old);
    }
}

static bool may_lead(const struct world *world, uint32_t at) {
    const struct server *server = &world->servers[at];
    return server->up && world->now - server->turned_us <= SILENT_US && has_majority(world, at);
}

static void notice_silence(struct world *world) {
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        struct server *server = &world->servers[i];
        if (server->up && world->group->leader != (int)i && !server->agent->group->leads &&
            server->agent->group->known != NOBODY &&
            world->now - server->agent->group->heard_us > SILENT_US) {
            world_post(world, 1, EVENT_KNOWS, server);
        }
    }
}

void group_elect(struct world *world) {
    struct group_truth *truth = world->group;
    world_post(world, world_between(world, 100 * MS, 250 * MS), EVENT_ELECT, NULL);
    notice_silence(world);
    if (truth->leader != NOBODY) {
        if (!may_lead(world, (uint32_t)truth->leader)) {
            group_depose(world, world_between(world, 1, 500 * MS));
        }
        return;
    }
    uint32_t at = (uint32_t)rand_below(&world->rand, SERVER_COUNT);
    if (world->now < truth->lost_us + ELECT_US || !may_lead(world, at)) {
        return;
    }
    truth->leader = (int)at;
    world->leaders++;
    world_disturb(world);
    while (truth->first != NULL) {
        commit_first(world);
    }
    server_do(&world->servers[at], lead, truth->index, 0);
}

/* ---- for the agent ---- */

bool group_leads(const struct group *group) {
    return group->leads;
}

bool group_has_leader(const struct group *group) {
    return group->known != NOBODY;
}

const struct raft_id *group_self(const struct group *group) {
    return &group->self;
}

/* ---- lives ---- */

struct group *group_start(struct server *server) {
    struct group *group = mem_calloc(1, sizeof *group);
    group->server = server;
    group->self.node = server->node;
    rand_bytes(&server->world->rand, group->self.disk.bytes, sizeof group->self.disk.bytes);
    group->known = NOBODY;
    group->waiting_last = &group->waiting;
    group->hold_timer.run = on_hold;
    apply_all(server, server->applied, 0); /* what its log has */
    return group;
}

void group_stop(struct server *server) {
    struct group *group = server->agent->group;
    if (group == NULL) {
        return;
    }
    leave_leader(group);
    answer_own(group, ERR_CLOSED);
    while (group->waiting != NULL) {
        struct group_proposal *proposal = group->waiting;
        group->waiting = proposal->next;
        finish(proposal, ERR_CLOSED, &no_leader);
    }
    ASSERT(group->forwards == NULL);
    loop_timer_stop(server->loop, &group->hold_timer);
    free(group);
    server->agent->group = NULL;
}

void group_begin(struct world *world) {
    struct group_truth *truth = mem_calloc(1, sizeof *truth);
    world->group = truth;
    truth->leader = NOBODY;
    truth->last = &truth->first;
    truth->catalog = catalog_create(world->epoch, NULL);
    world_post(world, 1, EVENT_BEAT, NULL);
    world_post(world, world_between(world, 1, 100 * MS), EVENT_ELECT, NULL);
}

void group_clear(struct world *world) {
    struct group_truth *truth = world->group;
    for (uint64_t i = 1; i <= truth->index; i++) {
        free(truth->entries[i].bytes);
    }
    while (truth->first != NULL) {
        struct pending *pending = truth->first;
        truth->first = pending->next;
        free(pending->entry.bytes);
        free(pending);
    }
    free(truth->entries);
    catalog_destroy(truth->catalog);
    free(truth);
}
