#include "agent/sync.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/reconcile_judge.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/row.h"

#define MODULE "agent"
#define CHECK_BYTES 512     /* of a check, beside its notes and its output */
#define FULL_MS (60 * 1000) /* ae_interval, plus a random part of the same size */
#define SCALE_MEMBERS 128   /* from here on each doubling adds one interval */
#define CAME_MS_A_MEMBER 10 /* spreads the comparisons of all once a server is back, */
#define CAME_MS_MAX 3000    /* at most (contract 12) */
#define RETRY_MIN_MS 1000   /* after a failure, plus a random part, doubling */
#define RETRY_MAX_MS (15 * 1000)
/* What nobody knows the end of may come into the catalog so late, plus a random part: behind what
 * was told after it, a service that is gone by then among it. */
#define DOUBT_MS (LIMIT_LEADER_HOLD_MS + LIMIT_FORWARD_MS)

struct sync {
    struct sync_config config;
    struct rand rand;
    struct loop_timer full_timer, output_timer, retry_timer;
    bool full_wanted, fetching;
    bool compared; /* since the start */
    bool keep_unknown;
    bool foreign;       /* the node in the catalog is another agent's, of the same name */
    bool more;          /* what is under way was too much for the rest */
    bool more_unknown;  /* the same, of what the catalog has and this agent does not */
    unsigned under_way; /* commands */
    bool leaving;       /* nothing is told any more: it would bring back the node that goes */
    int64_t retry_ms, retry_at_ms;
    int64_t doubt_at_ms; /* by then the newest doubt is over; only a comparison after counts */
    uint64_t members;
    uint64_t told, told_compared; /* commands, by now and when all was compared last */
};

/* What one proposal tells, so that its answer can be noted. */
struct told {
    enum local_kind kind;
    uint64_t generation;
    char *id;
};

struct telling {
    struct group_proposal proposal; /* first */
    struct sync *sync;
    struct sync_wait *wait;
    bool gone;
    bool registers; /* the node goes along */
    size_t count;
    struct told told[];
};

void sync_hold(struct sync_wait *wait) {
    if (wait != NULL) {
        wait->count++;
    }
}

void sync_release(struct sync_wait *wait) {
    if (wait != NULL && --wait->count == 0) {
        wait->done(wait);
    }
}

static int64_t after(struct sync *sync, int64_t base_ms, int64_t spread_ms) {
    return loop_now_ms(sync->config.loop) + base_ms +
           (int64_t)rand_below(&sync->rand, (uint64_t)spread_ms);
}

static bool is_backing_off(const struct sync *sync) {
    return sync->retry_at_ms > loop_now_ms(sync->config.loop);
}

/* One try for all that fails until then. False: that is due already. */
static bool retry_later(struct sync *sync) {
    if (is_backing_off(sync)) {
        return false;
    }
    sync->retry_ms = sync->retry_ms == 0 ? RETRY_MIN_MS : 2 * sync->retry_ms;
    sync->retry_ms = sync->retry_ms < RETRY_MAX_MS ? sync->retry_ms : RETRY_MAX_MS;
    sync->retry_at_ms = after(sync, sync->retry_ms, sync->retry_ms);
    loop_timer_start(sync->config.loop, &sync->retry_timer, sync->retry_at_ms);
    return true;
}

static void retry_now(struct sync *sync) {
    sync->retry_ms = sync->retry_at_ms = 0;
    loop_timer_stop(sync->config.loop, &sync->retry_timer);
}

/* ---- telling ---- */

/* Compares everything once that is over. */
static void note_doubt(struct sync *sync, enum err err) {
    if (err == ERR_TIMEOUT || err == ERR_CLOSED || err == ERR_IO) {
        bool pending = sync->doubt_at_ms > loop_now_ms(sync->config.loop);
        sync->doubt_at_ms = after(sync, DOUBT_MS, DOUBT_MS);
        if (!pending) { /* else the comparison that is due before starts the timer again */
            loop_timer_start(sync->config.loop, &sync->full_timer, sync->doubt_at_ms);
        }
    }
}

static void log_told(struct sync *sync, const struct telling *telling, const struct told *told) {
    const char *what = told->kind == LOCAL_SERVICE ? "service" : "check";
    log_write(sync->config.log, LOG_INFO, MODULE, "%s %s: %s=%s",
              telling->gone ? "Deregistered" : "Synced", what, what, told->id);
}

/* More has to be told, once there is room or the node is ours. */
static bool is_halfway(const struct sync *sync) {
    return sync->more || sync->more_unknown || sync->foreign;
}

static void telling_done(struct group_proposal *proposal, enum err err,
                         const struct err_text *text) {
    struct telling *telling = (struct telling *)proposal;
    struct sync *sync = telling->sync;
    sync->under_way--;
    note_doubt(sync, err);
    for (size_t i = 0; i < telling->count; i++) {
        struct told *told = &telling->told[i];
        local_end_sync(sync->config.local, told->kind, told->id, told->generation,
                       err == ERR_OK || MUTANT(failure_counts));
        if (err == ERR_OK) {
            log_told(sync, telling, told);
        }
        if (err == ERR_OK && telling->gone) {
            local_mark_twins_unsynced(sync->config.local, told->kind, told->id);
        }
        free(told->id);
    }
    if (err == ERR_OK && telling->registers && telling->count == 0) {
        log_write(sync->config.log, LOG_INFO, MODULE, "Synced node info");
    }
    if (err != ERR_OK && err != ERR_CLOSED) {
        sync->full_wanted = sync->full_wanted || telling->count == 0; /* the node itself */
        if (retry_later(sync)) {                                      /* one line for all of them */
            log_write(sync->config.log, LOG_WARN, MODULE,
                      "Syncing failed, will retry: error=\"%s\"", text->s);
        }
    } else if (err == ERR_OK && (telling->count > 0 || is_halfway(sync))) {
        sync->retry_ms = is_backing_off(sync) ? sync->retry_ms : 0;
        sync->full_wanted = sync->full_wanted || (sync->more_unknown && sync->under_way == 0) ||
                            (sync->foreign && telling->registers);
        sync_run(sync, NULL); /* what changed while this was under way, and the rest */
    }
    sync_release(telling->wait);
    free(telling);
}

static void propose(struct sync *sync, struct telling *telling,
                    const struct catalog_command *command) {
    struct buf out;
    size_t size = 0;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    telling->sync = sync;
    telling->registers = command->kind == COMMAND_REGISTER;
    telling->proposal.done = telling_done;
    telling->proposal.timing = command->kind == COMMAND_REGISTER ? sync->config.register_timing
                                                                 : sync->config.deregister_timing;
    telling->proposal.data = (uint8_t *)buf_take(&out, &size);
    telling->proposal.size = size;
    sync_hold(telling->wait);
    sync->told++;
    sync->under_way++;
    sync->config.propose(sync->config.context, &telling->proposal);
}

static void tell_gone(struct sync *sync, enum local_kind kind, const char *id, uint64_t generation,
                      bool local, struct sync_wait *wait) {
    struct telling *telling = mem_calloc(1, sizeof *telling + sizeof telling->told[0]);
    telling->wait = wait;
    telling->gone = true;
    struct catalog_command command = {.kind = COMMAND_DEREGISTER,
                                      .dereg = {.node = sync->config.facts->node_name,
                                                .service_id = kind == LOCAL_SERVICE ? id : "",
                                                .check_id = kind == LOCAL_CHECK ? id : ""}};
    if (local) {
        telling->count = 1;
        telling->told[0] = (struct told){kind, generation, mem_strdup(id)};
        local_begin_sync(sync->config.local, kind, id);
    }
    propose(sync, telling, &command);
}

/* ---- comparing ---- */

struct run {
    struct sync *sync;
    struct sync_wait *wait;
    const struct catalog_view *view;
    /* Entries to tell in the register of one service, or alone. */
    struct told *told;
    struct catalog_check *checks;
    size_t told_count, check_count, capacity;
    size_t bytes; /* of the checks, about */
    unsigned under_way_max;
    bool comparing; /* view is looked at for all of them */
};

static void gather(struct run *run, enum local_kind kind, const char *id, uint64_t generation) {
    if (run->told_count == run->capacity) {
        run->capacity = run->capacity == 0 ? 8 : run->capacity * 2;
        run->told = mem_realloc(run->told, run->capacity * sizeof *run->told);
        run->checks = mem_realloc(run->checks, run->capacity * sizeof *run->checks);
    }
    if (kind == LOCAL_CHECK) {
        /* Apply takes the node, and of a bound check name and tags, from their own rows. */
        struct catalog_check check = *local_get_check(local_next_view(run->sync->config.local), id);
        check.node = "";
        if (*check.service_id != '\0') {
            check.service_name = "";
            check.service_tags = (struct str_list){0};
        }
        run->checks[run->check_count++] = check;
        run->bytes += strlen(check.notes) + strlen(check.output) + CHECK_BYTES;
    }
    run->told[run->told_count++] = (struct told){kind, generation, mem_strdup(id)};
    local_begin_sync(run->sync->config.local, kind, id);
}

static void tell_gathered(struct run *run, const struct catalog_service *service) {
    struct sync *sync = run->sync;
    struct telling *telling =
        mem_calloc(1, sizeof *telling + run->told_count * sizeof telling->told[0]);
    telling->wait = run->wait;
    telling->count = run->told_count;
    memcpy(telling->told, run->told, run->told_count * sizeof telling->told[0]);
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = *sync->config.node,
                                              .service = service,
                                              .checks = run->checks,
                                              .check_count = (uint32_t)run->check_count}};
    run->told_count = run->check_count = run->bytes = 0;
    propose(sync, telling, &command);
}

static bool in_sync(const struct run *run, enum local_kind kind, const char *id) {
    const struct local_view *mine = local_next_view(run->sync->config.local);
    const char *node = run->sync->config.facts->node_name;
    if (run->view == NULL) {
        return false; /* only a full comparison knows */
    }
    if (kind == LOCAL_SERVICE) {
        const struct catalog_service *remote = view_get_service(run->view, node, id);
        return remote != NULL && row_equal_service(remote, local_get_service(mine, id));
    }
    const struct catalog_check *remote = view_get_check(run->view, node, id);
    struct catalog_check check = *local_get_check(mine, id);
    if (remote != NULL && local_output_is_deferred(run->sync->config.local, id)) {
        check.output = remote->output; /* it waits for its time */
    }
    return remote != NULL && row_equal_check(remote, &check);
}

static void note_in_sync(struct run *run, enum local_kind kind, const char *id) {
    bool service = kind == LOCAL_SERVICE;
    local_note_in_sync(run->sync->config.local, kind, id);
    log_write(run->sync->config.log, LOG_DEBUG, MODULE, "%s in sync: %s=%s",
              service ? "Service" : "Check", service ? "service" : "check", id);
}

static bool gather_check(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                         void *context) {
    struct run *run = context;
    (void)gone; /* checks that are gone are bound to nothing */
    if (run->check_count == LIMIT_CHECKS_PER_REQUEST || run->bytes >= LIMIT_SYNC_BYTES) {
        return false; /* the others are told alone */
    }
    gather(run, kind, id, generation);
    return true;
}

static bool judge_entry(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                        void *context) {
    struct run *run = context;
    struct sync *sync = run->sync;
    bool full = sync->under_way >= run->under_way_max;
    if (!gone && in_sync(run, kind, id)) {
        note_in_sync(run, kind, id);
    } else if (gone && sync->foreign) { /* what has this id there is not ours */
        local_begin_sync(sync->config.local, kind, id);
        local_end_sync(sync->config.local, kind, id, generation, true);
    } else if (full) {
        sync->more = true;
        return run->comparing; /* what is in sync is found without another comparison */
    } else if (gone) {
        tell_gone(sync, kind, id, generation, true, run->wait);
    } else if (kind == LOCAL_SERVICE) {
        const struct catalog_service *service =
            local_get_service(local_next_view(sync->config.local), id);
        gather(run, kind, id, generation);
        local_walk_unsynced_of(sync->config.local, service->id, gather_check, run);
        tell_gathered(run, service);
    } else {
        gather(run, kind, id, generation);
        local_note_alone(sync->config.local, id);
        tell_gathered(run, NULL);
    }
    return true;
}

static const char *service_of(const struct sync *sync, const char *check_id) {
    const struct catalog_check *check =
        local_get_check(local_next_view(sync->config.local), check_id);
    return check != NULL ? check->service_id : "";
}

/* A check needs its service: that goes first, and takes it along. */
static bool judge_fresh_check(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                              void *context) {
    struct run *run = context;
    struct local *local = run->sync->config.local;
    (void)gone;
    (void)generation;
    local_visit_waiting(local, LOCAL_SERVICE, service_of(run->sync, id), judge_entry, run);
    local_visit_waiting(local, kind, id, judge_entry, run);
    return true;
}

static bool judge_old_check(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                            void *context) {
    struct run *run = context;
    if (local_is_waiting(run->sync->config.local, LOCAL_SERVICE, service_of(run->sync, id))) {
        return true;
    }
    return judge_entry(kind, id, gone, generation, context);
}

/* ---- what the catalog has and this agent does not ---- */

/* The rest is told after another comparison. */
static void tell_unknown(struct run *run, enum local_kind kind, const char *id) {
    struct sync *sync = run->sync;
    if (sync->under_way >= LIMIT_SYNC_UNDER_WAY) {
        sync->more_unknown = true;
        return;
    }
    tell_gone(sync, kind, id, 0, false, run->wait);
}

static bool judge_remote_service(const struct catalog_service *service, void *context) {
    struct run *run = context;
    struct sync *sync = run->sync;
    if (local_get_service(local_next_view(sync->config.local), service->id) != NULL &&
        local_take_remote(sync->config.local, service->id, service)) {
        sync->config.taken(sync->config.context, service->id);
    }
    if (!local_knows(sync->config.local, LOCAL_SERVICE, service->id) &&
        (strcmp(service->name, "consul") != 0 || !sync->config.facts->server) &&
        !sync->keep_unknown) {
        tell_unknown(run, LOCAL_SERVICE, service->id);
    }
    return true;
}

static bool judge_remote_check(const struct catalog_check *check, void *context) {
    struct run *run = context;
    struct sync *sync = run->sync;
    bool of_known = *check->service_id == '\0' ||
                    local_knows(sync->config.local, LOCAL_SERVICE, check->service_id);
    if (!local_knows(sync->config.local, LOCAL_CHECK, check->id) && of_known &&
        strcmp(check->id, CATALOG_AGENT_CHECK) != 0) {
        tell_unknown(run, LOCAL_CHECK, check->id);
    }
    return true;
}

/* Until the node is ours, what it has is that agent's. */
static bool is_foreign(const struct run *run) {
    const struct catalog_node *mine = run->sync->config.node;
    const struct catalog_node *node = view_get_node(run->view, mine->name);
    return node != NULL && *node->id != '\0' && strcmp(node->id, mine->id) != 0;
}

static void compare_remote(struct run *run) {
    const char *node = run->sync->config.facts->node_name;
    run->sync->foreign = is_foreign(run);
    if (run->sync->foreign || MUTANT(unknown_kept)) {
        return;
    }
    view_walk_node_services(run->view, node, judge_remote_service, run);
    if (!run->sync->keep_unknown) {
        view_walk_node_checks(run->view, node, judge_remote_check, run);
    }
}

/* ---- the leader itself ---- */

/* What a leader registers for itself: its node, the service consul, serfHealth (contract 7.5). */
struct self {
    struct str_pair meta[7];
    struct catalog_service service;
    struct catalog_check check;
};

static void describe_self(const struct sync *sync, struct self *self) {
    const struct backend_facts *facts = sync->config.facts;
    const struct str_pair meta[] = {
        {"non_voter", "false"},         {"raft_version", "3"},      {"read_replica", "false"},
        {"serf_protocol_current", "2"}, {"serf_protocol_max", "5"}, {"serf_protocol_min", "1"},
        {"version", facts->version},
    };
    memcpy(self->meta, meta, sizeof meta);
    self->service =
        (struct catalog_service){.node = "",
                                 .id = "consul",
                                 .name = "consul",
                                 .address = "",
                                 .port = sync->config.server_port,
                                 .socket_path = "",
                                 .meta = {self->meta, sizeof meta / sizeof meta[0], true},
                                 .weight_passing = 1,
                                 .weight_warning = 1,
                                 .kind = "",
                                 .region = "",
                                 .zone = "",
                                 .proxy = "",
                                 .connect = ""};
    self->check = reconcile_agent_check("", true);
}

/* Of an agent without -server: what else is there of it is the leader's. */
static void compare_node(struct sync *sync, const struct catalog_view *view) {
    const struct catalog_node *node = view_get_node(view, sync->config.facts->node_name);
    if (node != NULL && row_equal_node(node, sync->config.node)) {
        log_write(sync->config.log, LOG_DEBUG, MODULE, "Node info in sync");
        return;
    }
    sync_node(sync, NULL);
}

/* Somebody may have deregistered or overwritten them: each full comparison puts them right. */
static void compare_self(struct sync *sync, const struct catalog_view *view) {
    const char *name = sync->config.facts->node_name;
    struct self self;
    if (!sync->config.facts->server) {
        compare_node(sync, view);
        return;
    }
    describe_self(sync, &self);
    const struct catalog_node *node = view_get_node(view, name);
    const struct catalog_service *service = view_get_service(view, name, "consul");
    const struct catalog_check *check = view_get_check(view, name, CATALOG_AGENT_CHECK);
    bool own_service = local_knows(sync->config.local, LOCAL_SERVICE, "consul");
    /* Whether a server that does not lead is alive is for the leader to say. */
    bool own_check = local_knows(sync->config.local, LOCAL_CHECK, CATALOG_AGENT_CHECK) ||
                     !sync->config.leads(sync->config.context);
    if (node != NULL && row_equal_node(node, sync->config.node) &&
        (own_service || (service != NULL && row_equal_service(service, &self.service))) &&
        (own_check || (check != NULL && row_equal_check(check, &self.check)))) {
        log_write(sync->config.log, LOG_DEBUG, MODULE, "Node info in sync");
        return;
    }
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = *sync->config.node,
                                              .service = own_service ? NULL : &self.service,
                                              .checks = &self.check,
                                              .check_count = own_check ? 0 : 1}};
    struct telling *telling = mem_calloc(1, sizeof *telling);
    propose(sync, telling, &command);
}

/* ---- runs ---- */

/* What has just changed goes first, for somebody may wait for it; the rest as there is room. */
static void walk(struct sync *sync, struct run *run) {
    struct local *local = sync->config.local;
    run->under_way_max = LIMIT_SYNC_FRESH;
    sync->more = false;
    local_walk_fresh(local, LOCAL_SERVICE, judge_entry, run);
    local_walk_fresh(local, LOCAL_CHECK, judge_fresh_check, run);
    if (!is_backing_off(sync)) {
        run->under_way_max = LIMIT_SYNC_UNDER_WAY;
        local_walk_unsynced(local, LOCAL_SERVICE, judge_entry, run);
        local_walk_unsynced(local, LOCAL_CHECK, judge_old_check, run);
    }
    free(run->told);
    free(run->checks);
}

static void compare(struct sync *sync, struct run *run) {
    sync->full_wanted = sync->more_unknown = false;
    sync->compared = true;
    run->comparing = true;
    retry_now(sync);
    local_mark_all_unsynced(sync->config.local);
    compare_self(sync, run->view);
    compare_remote(run);
}

static void fetch(struct sync *sync) {
    if (sync->full_wanted && !sync->fetching && sync->config.ready(sync->config.context)) {
        sync->fetching = true;
        sync->config.fetch(sync->config.context);
    }
}

void sync_run(struct sync *sync, struct sync_wait *wait) {
    sync_hold(wait);
    if (!sync->leaving && sync->config.ready(sync->config.context)) {
        struct run run = {.sync = sync, .wait = wait};
        if (sync->config.catalog != NULL) {
            epoch_enter(sync->config.epoch);
            /* What the leader has answered may be newer than the view of a server that follows. */
            bool current = sync->full_wanted || sync->config.leads(sync->config.context);
            run.view = current ? catalog_view(sync->config.catalog) : NULL;
            if (sync->full_wanted) {
                compare(sync, &run);
            }
            walk(sync, &run);
            epoch_exit(sync->config.epoch);
        } else {
            walk(sync, &run);
            fetch(sync);
        }
    }
    sync_release(wait);
}

void sync_compare(struct sync *sync, const struct catalog_view *view) {
    struct run run = {.sync = sync, .view = view};
    sync->fetching = false;
    sync->told_compared = sync->told;
    compare(sync, &run);
    walk(sync, &run);
}

bool sync_is_as_compared(const struct sync *sync) {
    return sync->told == sync->told_compared || MUTANT(old_comparison_counts);
}

void sync_unchanged(struct sync *sync) {
    sync->fetching = false;
    sync->full_wanted = false;
    sync_run(sync, NULL);
}

void sync_fetch_failed(struct sync *sync, const char *why) {
    sync->fetching = false;
    log_write(sync->config.log, LOG_WARN, MODULE,
              "what the catalog has of this node is not known: error=\"%s\"", why);
    (void)retry_later(sync);
}

void sync_server_came(struct sync *sync) {
    int64_t spread_ms = (int64_t)sync->members * CAME_MS_A_MEMBER;
    spread_ms = spread_ms < CAME_MS_MAX ? spread_ms + 1 : CAME_MS_MAX;
    sync->fetching = false; /* who was asked is gone */
    retry_now(sync);
    if (MUTANT(server_not_compared)) {
        return;
    }
    loop_timer_start(sync->config.loop, &sync->full_timer, after(sync, 0, spread_ms));
    if (sync->compared) {
        sync_run(sync, NULL);
    }
}

void sync_leave(struct sync *sync) {
    sync->leaving = true;
}

void sync_keep_unknown(struct sync *sync) {
    sync->keep_unknown = true;
}

int64_t sync_full_ms(uint64_t members) {
    int64_t scale = 1;
    if (members > SCALE_MEMBERS) {
        scale += (int64_t)ceil(log2((double)members) - log2(SCALE_MEMBERS));
    }
    return FULL_MS * scale;
}

void sync_set_members(struct sync *sync, uint64_t members) {
    sync->members = members;
}

void sync_full(struct sync *sync) {
    sync->full_wanted = true;
    int64_t full_ms = sync_full_ms(sync->members), next_ms = after(sync, full_ms, full_ms);
    if (sync->doubt_at_ms > loop_now_ms(sync->config.loop) && sync->doubt_at_ms < next_ms) {
        next_ms = sync->doubt_at_ms;
    }
    loop_timer_start(sync->config.loop, &sync->full_timer, next_ms);
    if (sync->config.catalog == NULL && !sync->compared) {
        fetch(sync); /* most of it is likely to be there already */
    } else {
        sync_run(sync, NULL);
    }
}

void sync_node(struct sync *sync, struct sync_wait *wait) {
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = *sync->config.node}};
    if (sync->leaving) {
        return;
    }
    struct telling *telling = mem_calloc(1, sizeof *telling);
    telling->wait = wait;
    propose(sync, telling, &command);
}

static void on_full(struct loop_timer *timer) {
    sync_full(CONTAINER_OF(timer, struct sync, full_timer));
}

static void on_retry(struct loop_timer *timer) {
    struct sync *sync = CONTAINER_OF(timer, struct sync, retry_timer);
    if (sync->config.catalog == NULL && !sync->compared) {
        sync->full_wanted = true;
        fetch(sync);
    } else {
        sync_run(sync, NULL);
    }
}

static void start_output_timer(struct sync *sync) {
    int64_t output_ms = sync->config.output_ms;
    loop_timer_start(sync->config.loop, &sync->output_timer, after(sync, output_ms / 2, output_ms));
}

static void on_output(struct loop_timer *timer) {
    struct sync *sync = CONTAINER_OF(timer, struct sync, output_timer);
    local_mark_outputs_unsynced(sync->config.local);
    start_output_timer(sync);
    sync_run(sync, NULL);
}

struct sync *sync_create(const struct sync_config *config) {
    struct sync *sync = mem_calloc(1, sizeof *sync);
    sync->config = *config;
    rand_init(&sync->rand, config->seed);
    sync->full_timer.run = on_full;
    sync->retry_timer.run = on_retry;
    sync->output_timer.run = on_output;
    if (config->output_ms > 0) {
        start_output_timer(sync);
    }
    return sync;
}

void sync_destroy(struct sync *sync) {
    if (sync == NULL) {
        return;
    }
    loop_timer_stop(sync->config.loop, &sync->full_timer);
    loop_timer_stop(sync->config.loop, &sync->retry_timer);
    loop_timer_stop(sync->config.loop, &sync->output_timer);
    free(sync);
}
