/* The table of functions that the front ends call, and what the agent does for each kind of call.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/carry.h"
#include "agent/events.h"
#include "agent/mirrors.h"
#include "agent/internal.h"
#include "agent/operator.h"
#include "agent/pools.h"
#include "agent/snapshots.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/crypto.h"

#define MODULE "agent"

/* A call on the core's thread: done once its files are written and the catalog has been told. */
struct pending {
    struct loop_task task; /* first */
    struct agent *agent;
    struct backend_call *call;
    struct group_proposal proposal; /* of a command */
    struct sync_wait wait;          /* of a registration */
    struct reload_wait reload;
    struct group_read read;
    uint64_t begun_at_ns;         /* of the read */
    struct group_request request; /* to the leader */
    struct loop_timer retry;      /* of a renewal without a leader */
    int64_t retry_until_ms;
};

static void finish(struct pending *pending) {
    struct backend_call *call = pending->call;
    free(pending);
    call->done(call);
}

static void command_done(struct group_proposal *proposal, enum err err,
                         const struct err_text *text) {
    struct pending *pending = CONTAINER_OF(proposal, struct pending, proposal);
    pending->call->err = err;
    pending->call->text = *text;
    finish(pending);
}

static void file_saved(void *context, enum err err, const struct err_text *text) {
    struct pending *pending = context;
    if (err != ERR_OK && pending->call->err == ERR_OK) {
        pending->call->err = err;
        pending->call->text = *text;
    }
    sync_release(&pending->wait);
}

static void wait_done(struct sync_wait *wait) {
    finish(CONTAINER_OF(wait, struct pending, wait));
}

static void save(struct pending *pending, enum local_kind kind, const char *id) {
    struct agent *agent = pending->agent;
    if (agent->files != NULL && !local_is_of_file(agent->local, kind, id)) {
        sync_hold(&pending->wait);
        files_save(agent->files, agent->local, kind, id, file_saved, pending);
    }
}

/* ---- this agent's registrations ---- */

static enum err set_service(struct pending *pending) {
    struct agent *agent = pending->agent;
    struct backend_call *call = pending->call;
    const struct service_definition *definition = &call->set_service.definition;
    for (uint32_t i = 0; i < definition->check_count; i++) {
        enum err err = runners_judge(agent, &definition->checks[i], true, &call->text);
        if (err != ERR_OK) {
            return err;
        }
    }
    local_set_service(agent->local, definition, call->set_service.replace_checks);
    alias_note(agent, definition->service.id);
    return ERR_OK;
}

static enum err unknown_service(struct backend_call *call, const char *id) {
    return err_set(&call->text, ERR_NOT_FOUND,
                   "Unknown service ID \"%.128s\". Ensure that the service ID is passed, not the "
                   "service name.",
                   id);
}

static enum err remove_service(struct pending *pending) {
    struct agent *agent = pending->agent;
    struct backend_call *call = pending->call;
    if (local_remove_service(agent->local, call->id) != ERR_OK) {
        return unknown_service(call, call->id);
    }
    alias_note(agent, call->id);
    save(pending, LOCAL_SERVICE, call->id);
    return ERR_OK;
}

static enum err set_check(struct pending *pending) {
    struct agent *agent = pending->agent;
    struct backend_call *call = pending->call;
    enum err err = runners_judge(agent, &call->set_check, true, &call->text);
    if (err == ERR_OK && local_set_check(agent->local, &call->set_check, true) != ERR_OK) {
        err = err_set(&call->text, ERR_NOT_FOUND, "ServiceID \"%.128s\" does not exist",
                      call->set_check.service_id);
    }
    return err;
}

static enum err remove_check(struct pending *pending) {
    struct backend_call *call = pending->call;
    if (local_remove_check(pending->agent->local, call->id) != ERR_OK) {
        return err_set(&call->text, ERR_NOT_FOUND,
                       "Unknown check ID \"%.128s\". Ensure that the check ID is passed, not the "
                       "check name.",
                       call->id);
    }
    return ERR_OK;
}

/* Idempotent: enabled twice it keeps the first reason (contract 10.6). */
static enum err set_maintenance(struct pending *pending) {
    struct agent *agent = pending->agent;
    struct backend_call *call = pending->call;
    const struct local_view *view = local_next_view(agent->local);
    const char *service_id = call->maintenance.service_id;
    if (*service_id != '\0' && local_get_service(view, service_id) == NULL) {
        return unknown_service(call, service_id);
    }
    struct arena arena;
    arena_init(&arena);
    struct check_definition check =
        definition_make_maintenance(service_id, call->maintenance.reason, &arena);
    check.token = call->maintenance.token;
    bool on = local_get_check(view, check.id) != NULL;
    if (on != call->maintenance.enable) {
        enum err err = on ? local_remove_check(agent->local, check.id)
                          : local_set_check(agent->local, &check, false);
        ASSERT(err == ERR_OK);
        log_write(agent->log, LOG_INFO, MODULE, "%s %s maintenance mode%s%s",
                  *service_id != '\0' ? "Service" : "Node", on ? "left" : "entered",
                  *service_id != '\0' ? ": service=" : "", service_id);
    }
    arena_clear(&arena);
    return ERR_OK;
}

static enum err change_local(struct pending *pending) {
    struct backend_call *call = pending->call;
    switch (call->kind) {
    case BACKEND_SET_SERVICE:
        return set_service(pending);
    case BACKEND_REMOVE_SERVICE:
        return remove_service(pending);
    case BACKEND_SET_CHECK:
        return set_check(pending);
    case BACKEND_REMOVE_CHECK:
        return remove_check(pending);
    case BACKEND_UPDATE_CHECK:
        return runners_update_ttl(pending->agent, call->update.id, call->update.status,
                                  call->update.output, &pending->wait, &call->text);
    case BACKEND_SET_MAINTENANCE:
        return set_maintenance(pending);
    case BACKEND_COMMAND:
    case BACKEND_COORDINATE:
    case BACKEND_READ:
    case BACKEND_RENEW_SESSION:
    case BACKEND_JOIN:
    case BACKEND_FORCE_LEAVE:
    case BACKEND_KEYRING:
    case BACKEND_FIRE_EVENT:
    case BACKEND_OPERATOR:
    case BACKEND_SNAPSHOT:
    case BACKEND_RESTORE:
    case BACKEND_FORWARD:
    case BACKEND_QUESTION:
    case BACKEND_LEAVE:
    case BACKEND_RELOAD:
        break;
    }
    return ERR_OK;
}

static void save_check(const char *id, const struct check_definition *definition, void *context) {
    (void)definition;
    save(context, LOCAL_CHECK, id);
}

static void reload_done(struct reload_wait *wait, enum err err, const struct err_text *text) {
    struct pending *pending = CONTAINER_OF(wait, struct pending, reload);
    pending->call->err = err == ERR_OK ? ERR_OK : ERR_REFUSED; /* whatever is wrong, it is a 500 */
    pending->call->text = *text;
    sync_release(&pending->wait);
}

/* A registration's service comes after its checks: if the process dies between, those are dropped
 * at the next start, while a service without its checks would pass. One that goes goes first. */
static void save_changes(struct pending *pending) {
    const struct backend_call *call = pending->call;
    local_walk_changed_checks(pending->agent->local, save_check, pending);
    if (call->kind == BACKEND_SET_SERVICE) {
        save(pending, LOCAL_SERVICE, call->set_service.definition.service.id);
    }
}

/* Wakes who waits for a service of this agent's own. */
static void wake(struct agent *agent, const struct backend_call *call) {
    if (call->kind == BACKEND_SET_SERVICE || call->kind == BACKEND_REMOVE_SERVICE) {
        watches_mark(agent->watches, WATCH_LOCAL_SERVICE,
                     call->kind == BACKEND_SET_SERVICE ? call->set_service.definition.service.id
                                                       : call->id);
        http_server_wake(agent->http);
    }
}

static void finish_context(void *context) {
    finish(context);
}

static void run_call(struct loop_task *task) {
    struct pending *pending = (struct pending *)task;
    struct agent *agent = pending->agent;
    struct backend_call *call = pending->call;
    pending->wait.done = wait_done;
    if (call->kind == BACKEND_LEAVE) {
        call->err = ERR_OK;
        agent_leave(agent, finish_context, pending);
        return;
    }
    if (call->kind == BACKEND_JOIN || call->kind == BACKEND_FORCE_LEAVE ||
        call->kind == BACKEND_KEYRING) {
        pools_run_call(agent, call, finish_context, pending);
        return;
    }
    if (call->kind == BACKEND_FORWARD || call->kind == BACKEND_QUESTION) {
        if (agent->links == NULL) { /* the agent ends */
            call->err = err_set(&call->text, ERR_CLOSED, "the agent stops");
            finish(pending);
            return;
        }
        carry_run(agent, call, finish_context, pending);
        return;
    }
    if (call->kind == BACKEND_FIRE_EVENT) {
        events_fire(agent, call);
        finish(pending);
        return;
    }
    if (call->kind == BACKEND_OPERATOR) {
        operator_run(agent, call, finish_context, pending);
        return;
    }
    if (call->kind == BACKEND_SNAPSHOT || call->kind == BACKEND_RESTORE) {
        snapshots_run(agent, call, finish_context, pending);
        return;
    }
    sync_hold(&pending->wait);
    if (call->kind == BACKEND_RELOAD) {
        pending->reload.done = reload_done;
        reload_start(agent, &pending->reload);
        return;
    }
    call->err = change_local(pending);
    if (call->err == ERR_OK) {
        save_changes(pending);
        runners_follow(agent);
        local_publish(agent->local);
        wake(agent, call);
        sync_run(agent->sync, &pending->wait);
    }
    sync_release(&pending->wait);
}

static void read_done(struct group_read *read, enum err err) {
    struct pending *pending = CONTAINER_OF(read, struct pending, read);
    pending->call->err = err;
    if (pending->call->consistent) {
        metric_sample(pending->agent->telemetry.consistent_read,
                      metrics_ms_since(pending->begun_at_ns, metrics_clock_ns()));
    }
    finish(pending);
}

static void run_read(struct loop_task *task) {
    struct pending *pending = (struct pending *)task;
    pending->read.done = read_done;
    pending->begun_at_ns = metrics_clock_ns();
    group_read(pending->agent->group, &pending->read, pending->call->consistent);
}

static void end_renewal(struct pending *pending, enum err err, const char *sentence) {
    struct backend_call *call = pending->call;
    call->err = err;
    if (err == ERR_NOT_FOUND) {
        err_set(&call->text, ERR_NOT_FOUND, "Session id '%.128s' not found", call->id);
    } else if (err != ERR_OK) {
        err_set(&call->text, err, "%s", sentence);
    }
    metric_sample(pending->agent->telemetry.session_renew, 0);
    finish(pending);
}

/* A renewal only sets a clock, so it may be asked for again whatever became of the first request.
 */
#define RENEW_AGAIN_MS 20

static void renew_again(struct pending *pending) {
    struct loop *loop = pending->agent->loop;
    int64_t now_ms = loop_now_ms(loop);
    if (pending->agent->stopping || now_ms >= pending->retry_until_ms) {
        end_renewal(pending, ERR_NO_LEADER, "No cluster leader");
    } else {
        loop_timer_start(loop, &pending->retry, now_ms + RENEW_AGAIN_MS);
    }
}

static void renewal_is_here(struct group_read *read, enum err err) {
    end_renewal(CONTAINER_OF(read, struct pending, read), err, "No cluster leader");
}

/* The answer shows the session as this server has it, which may be behind the leader. */
static void renewal_answered(struct group_request *request, enum err err,
                             const struct err_text *text) {
    struct pending *pending = CONTAINER_OF(request, struct pending, request);
    if (err == ERR_NO_LEADER || err == ERR_CLOSED) {
        renew_again(pending);
    } else if (err == ERR_OK) {
        pending->read.done = renewal_is_here;
        group_read(pending->agent->group, &pending->read, false);
    } else {
        end_renewal(pending, err, text != NULL ? text->s : "");
    }
}

/* The clocks are the leader's. */
static void ask_for_renewal(struct loop_timer *timer) {
    struct pending *pending = CONTAINER_OF(timer, struct pending, retry);
    struct agent *agent = pending->agent;
    const char *id = pending->call->id;
    if (group_leads(agent->group)) {
        renewal_answered(&pending->request, clocks_renew(agent->clocks, id), NULL);
    } else if (!group_ask_leader(agent->group, &pending->request, RPC_METHOD_RENEW_SESSION, id,
                                 strlen(id))) {
        renew_again(pending);
    }
}

static void renew_session(struct loop_task *task) {
    struct pending *pending = (struct pending *)task;
    pending->request.done = renewal_answered;
    pending->retry.run = ask_for_renewal;
    pending->retry_until_ms = loop_now_ms(pending->agent->loop) + LIMIT_LEADER_HOLD_MS;
    ask_for_renewal(&pending->retry);
}

static void run_coordinate(struct loop_task *task) {
    struct pending *pending = (struct pending *)task;
    coordinates_take(pending->agent->coordinates, &pending->call->coordinate);
    pending->call->err = ERR_OK;
    finish(pending);
}

static void run_command(struct loop_task *task) {
    struct pending *pending = (struct pending *)task;
    pending->proposal.done = command_done;
    group_propose(pending->agent->group, &pending->proposal);
}

/* Random, not of any version, as clients of this API know ids of sessions. */
static void make_id(struct backend_call *call) {
    struct uuid id;
    crypto_random(id.bytes, sizeof id.bytes);
    uuid_format(&id, call->made_id);
    if (call->command.kind == COMMAND_SESSION) {
        call->command.session.id = call->made_id;
    } else {
        call->command.set_query.query.id = call->made_id;
    }
}

static struct metric *timing_of(const struct agent *agent, enum catalog_command_kind kind) {
    const struct telemetry *t = &agent->telemetry;
    switch (kind) {
    case COMMAND_REGISTER:
        return t->catalog_register;
    case COMMAND_DEREGISTER:
        return t->catalog_deregister;
    case COMMAND_KV:
        return t->kvs_apply;
    case COMMAND_SESSION:
    case COMMAND_SESSION_END:
        return t->session_apply;
    case COMMAND_TRANSACTION:
        return t->txn_apply;
    case COMMAND_QUERY:
        return t->query_apply;
    case COMMAND_AUTOPILOT:
    case COMMAND_COORDINATES:
    case COMMAND_RESTORE:
    case COMMAND_FAILOVER:
    case COMMAND_REAP:
    case COMMAND_LOCK_DELAY_END:
    case COMMAND_REMOVAL:
    case COMMAND_REMOVAL_END:
        break;
    }
    return NULL;
}

/* Ids of sessions are never used again. */
static bool is_repeatable(enum catalog_command_kind kind) {
    return kind == COMMAND_SESSION || kind == COMMAND_SESSION_END;
}

/* Any thread: commands are encoded here, so the core only queues bytes. */
static void submit(void *context, struct backend_call *call) {
    struct agent *agent = context;
    struct pending *pending = mem_calloc(1, sizeof *pending);
    pending->agent = agent;
    pending->call = call;
    pending->task.run = run_call;
    if (call->kind == BACKEND_COMMAND) {
        struct buf out;
        buf_init(&out, LIMIT_ENTRY_BYTES);
        if (call->command.kind == COMMAND_SESSION ||
            (call->command.kind == COMMAND_QUERY && call->command.set_query.verb == QUERY_CREATE)) {
            make_id(call);
        }
        codec_encode_command(&call->command, &out);
        pending->proposal.data = (uint8_t *)buf_take(&out, &pending->proposal.size);
        pending->proposal.timing = timing_of(agent, call->command.kind);
        pending->proposal.outcome = &call->result;
        pending->proposal.repeatable = is_repeatable(call->command.kind);
        pending->task.run = run_command;
    } else if (call->kind == BACKEND_RENEW_SESSION) {
        pending->task.run = renew_session;
    } else if (call->kind == BACKEND_COORDINATE) {
        pending->task.run = run_coordinate;
    } else if (call->kind == BACKEND_READ) {
        pending->task.run = run_read;
    }
    loop_post(agent->loop, &pending->task);
}

static void cancel(void *context, struct backend_call *call) {
    call->forward.cancelled = true; /* in case that it has not been looked at yet */
    carry_cancel(context, call);
}

/* ---- the rest of the table ---- */

/* An agent without -server has no view that is current: its servers answer. */

static bool has_leader(void *context) {
    struct agent *agent = context;
    return agent->group != NULL ? group_has_leader(agent->group) : links_connected(agent->links);
}

static bool may_read(void *context, bool consistent) {
    struct agent *agent = context;
    return agent->group != NULL && group_may_read(agent->group, consistent);
}

static int64_t contact_ms(void *context) {
    struct agent *agent = context;
    return agent->group != NULL ? group_contact_ms(agent->group) : -1;
}

static bool had_leader(void *context) {
    struct agent *agent = context;
    return agent->group != NULL && group_had_leader(agent->group);
}

static uint32_t get_servers(void *context, struct backend_server ret_servers[LIMIT_RAFT_SERVERS]) {
    struct agent *agent = context;
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    uint32_t count = agent->group != NULL ? group_get_peers(agent->group, peers) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct backend_server *to = &ret_servers[i];
        *to = (struct backend_server){.leader = peers[i].leader, .voter = peers[i].voter};
        uuid_format(&peers[i].id.node, to->id);
        if (peers[i].addr.any.sa_family != 0) {
            addr_format(&peers[i].addr, to->address);
        }
    }
    return count;
}

static uint32_t count_others(const struct group *group) {
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    uint32_t count = group_get_peers(group, peers), others = 0;
    bool votes = false;
    for (uint32_t i = 0; i < count; i++) {
        votes = votes || (peers[i].self && peers[i].voter);
        others += !peers[i].self && peers[i].voter;
    }
    return votes ? others : 0;
}

static void get_stats(void *context, struct backend_stats *ret_stats) {
    struct agent *agent = context;
    struct group_status status;
    if (agent->group == NULL) {
        *ret_stats = (struct backend_stats){
            .role = "", .contact_ms = -1, .uptime_ms = clock_monotonic_ms() - agent->started_at_ms};
        return;
    }
    group_get_status(agent->group, &status);
    *ret_stats = (struct backend_stats){
        .leader = status.leader,
        .role = raft_role_name(status.role),
        .peers = count_others(agent->group),
        .contact_ms = status.contact_ms,
        .term = status.term,
        .last_index = status.last_index,
        .last_term = status.last_term,
        .commit_index = status.commit_index,
        .applied_index = status.applied_index,
        .snapshot_index = status.snapshot_index,
        .snapshot_term = status.snapshot_term,
        .configuration_index = status.configuration_index,
        .uptime_ms = clock_monotonic_ms() - agent->started_at_ms,
    };
}

static void get_pool_stats(void *context, bool wan, struct backend_pool_stats *ret_stats) {
    pools_get_stats(((struct agent *)context)->pools, wan, ret_stats);
}

static bool find_coordinate(void *context, bool wan, const char *member,
                            struct coordinate *ret_coordinate) {
    return pools_find_coordinate(((struct agent *)context)->pools, wan, member, ret_coordinate);
}

static bool get_mirror(void *context, const char *datacenter, struct backend_mirror *ret_mirror) {
    struct mirror_face face;
    bool found = mirrors_look(context, datacenter, &face);
    if (found) {
        *ret_mirror = (struct backend_mirror){.view = face.view, .age_ms = face.age_ms};
    }
    return found;
}

static bool get_subscribed(void *context, const char *service, struct backend_mirror *ret_mirror) {
    struct mirror_face face;
    bool found = mirrors_look_subscribed(context, service, &face);
    if (found) {
        *ret_mirror = (struct backend_mirror){.view = face.view, .age_ms = face.age_ms};
    }
    return found;
}

void backend_init(struct agent *agent) {
    agent->backend = (struct backend){
        .context = agent,
        .epoch = agent->epoch,
        .catalog = agent->catalog,
        .own = agent->own,
        .local = agent->local,
        .facts = &agent->facts,
        .live = agent->backend.live,
        .failover = &agent->failover_source,
        .events = agent->backend.events,
        .has_leader = has_leader,
        .had_leader = had_leader,
        .may_read = may_read,
        .contact_ms = contact_ms,
        .submit = submit,
        .cancel = cancel,
        .get_stats = get_stats,
        .get_servers = get_servers,
        .get_pool_stats = get_pool_stats,
        .get_mirror = get_mirror,
        .get_subscribed = get_subscribed,
        .find_coordinate = find_coordinate,
        .metrics = agent->telemetry.metrics,
        .refresh_metrics = telemetry_refresh,
        .prometheus = agent->config->telemetry.prometheus_retention_ns > 0,
    };
}
