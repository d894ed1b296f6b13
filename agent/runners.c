#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"

#define MODULE "agent"
#define REAP_MS (30 * 1000)             /* check_reap_interval */
#define REAP_LEAST_NS (60 * DURATION_S) /* check_deregister_interval_min */

/* What is kept of a check's output. */
static const char *kept_output(const struct agent *agent, const char *output) {
    return agent->live->discard_check_output ? "" : output;
}

/* Unless an output alone may wait, the catalog is told of it at once. */
static void update(struct agent *agent, const char *id, const char *status, const char *output) {
    local_update_check(agent->local, id, status, output);
    if (agent->config->check_update_interval_ns == 0) {
        local_mark_unsynced(agent->local, LOCAL_CHECK, id);
    }
}

struct result_task {
    struct loop_task task; /* first */
    struct agent *agent;
    uint64_t generation;
    char *id, *output;
    const char *status;
};

static const char *status_literal(const char *status) {
    return strcmp(status, "passing") == 0   ? "passing"
           : strcmp(status, "warning") == 0 ? "warning"
                                            : "critical";
}

/* What an agent without access control may run for whoever reaches its HTTP port is a program of
 * theirs: that must be wanted twice. */
static bool remote_scripts(const struct config *config) {
    return config->enable_script_checks && config->http.allow_write_from.count > 0;
}

enum err runners_judge(const struct agent *agent, const struct check_definition *check, bool remote,
                       struct err_text *text) {
    const struct config *config = agent->config;
    enum check_kind kind = check_definition_kind(check);
    if (kind == CHECK_ALIAS || kind == CHECK_MAINTENANCE) {
        return ERR_OK;
    }
    bool script = kind == CHECK_SCRIPT || kind == CHECK_DOCKER;
    if (script && remote && !remote_scripts(config)) {
        return err_set(text, ERR_REFUSED,
                       "Scripts are disabled on this agent from remote calls; to enable, configure "
                       "'enable_script_checks' to true%s",
                       config->enable_script_checks
                           ? " and 'http_config.allow_write_http_from' to who may register them"
                           : "");
    }
    if (script && !remote && !config_allows_local_scripts(config)) {
        return err_set(text, ERR_REFUSED,
                       "Scripts are disabled on this agent; to enable, configure "
                       "'enable_script_checks' or 'enable_local_script_checks' to true");
    }
    return checks_supports(kind, text) == ERR_OK ? ERR_OK : ERR_REFUSED;
}

struct refused {
    struct agent *agent;
    char **ids;
    size_t count;
};

static bool judge_loaded(const struct catalog_check *check, void *context) {
    struct refused *refused = context;
    struct agent *agent = refused->agent;
    struct err_text text;
    const struct check_definition *definition = local_get_definition(agent->local, check->id);
    enum check_kind kind = check_definition_kind(definition);
    if (kind == CHECK_SCRIPT && !local_is_of_file(agent->local, LOCAL_CHECK, check->id) &&
        runners_judge(agent, definition, true, &text) != ERR_OK) {
        log_write(agent->log, LOG_WARN, MODULE, "skipping a kept check: check=%s error=\"%s\"",
                  check->id, text.s);
        refused->ids = mem_realloc(refused->ids, (refused->count + 1) * sizeof *refused->ids);
        refused->ids[refused->count++] = mem_strdup(check->id);
    }
    return true;
}

void runners_judge_loaded(struct agent *agent) {
    struct refused refused = {.agent = agent};
    local_walk_checks(local_next_view(agent->local), judge_loaded, &refused);
    for (size_t i = 0; i < refused.count; i++) {
        local_remove_check(agent->local, refused.ids[i]);
        free(refused.ids[i]);
    }
    free(refused.ids);
}

/* As the engine takes it: a definition can only lower the agent's limit of outputs. */
static struct check_definition limited(const struct agent *agent,
                                       const struct check_definition *definition) {
    struct check_definition copy = *definition;
    int64_t max = agent->config->check_output_max_size;
    if (copy.output_bytes_max <= 0 || copy.output_bytes_max > max) {
        copy.output_bytes_max = max;
    }
    return copy;
}

bool runners_tell(struct agent *agent, const char *id, const char *status, const char *output) {
    const struct catalog_check *check = local_get_check(local_next_view(agent->local), id);
    bool critical = strcmp(status, "critical") == 0;
    if (check == NULL) {
        return false;
    }
    output = kept_output(agent, output);
    local_note_result(agent->local, id, critical, loop_now_ms(agent->loop));
    bool changed = strcmp(check->status, status) != 0;
    if (!changed && strcmp(check->output, output) == 0) {
        return false;
    }
    if (changed && critical) {
        log_write(agent->log, LOG_WARN, MODULE, "Check is now critical: check=%s", id);
    } else if (changed) {
        log_write(agent->log, LOG_DEBUG, MODULE, "Check status updated: check=%s status=%s", id,
                  status);
    }
    alias_note(agent, check->service_id);
    update(agent, id, status, output);
    return true;
}

static void result_arrived(struct loop_task *task) {
    struct result_task *result = (struct result_task *)task;
    struct agent *agent = result->agent;
    if (local_get_runner(agent->local, result->id) == result->generation &&
        runners_tell(agent, result->id, result->status, result->output)) {
        alias_settle(agent);
        agent->local_changed = true;
        sync_run(agent->sync, NULL);
    }
    free(result->id);
    free(result->output);
    free(result);
}

/* The engine's thread. */
static void on_result(void *context, const struct checks_result *from) {
    struct agent *agent = context;
    struct result_task *result = mem_calloc(1, sizeof *result);
    result->agent = agent;
    result->generation = from->generation;
    result->id = mem_strdup(from->id);
    result->output = mem_strdup(from->output);
    result->status = status_literal(from->status);
    result->task.run = result_arrived;
    loop_post(agent->loop, &result->task);
}

/* ---- services that were critical for too long (contract 11.5) ---- */

static void reaped(struct backend_call *call) {
    free((void *)(uintptr_t)call->id);
    free(call);
}

static void reap_service(const struct check_definition *definition, void *context) {
    struct agent *agent = context;
    if (*definition->service_id == '\0') {
        return; /* there is nothing that its rule could remove */
    }
    log_write(agent->log, LOG_INFO, MODULE,
              "Check is critical for too long, deregistering its service: check=%s service=%s",
              definition->id, definition->service_id);
    struct backend_call *call = mem_calloc(1, sizeof *call);
    call->kind = BACKEND_REMOVE_SERVICE;
    call->id = mem_strdup(definition->service_id);
    call->done = reaped;
    agent->backend.submit(agent, call);
}

static void reap(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, reap_timer);
    int64_t now_ms = loop_now_ms(agent->loop);
    local_walk_overdue(agent->local, now_ms, REAP_LEAST_NS, reap_service, agent);
    loop_timer_start(agent->loop, timer, now_ms + REAP_MS);
}

bool runners_create(struct agent *agent, struct err_text *text) {
    alias_init(agent);
    agent->reap_timer.run = reap;
    loop_timer_start(agent->loop, &agent->reap_timer, loop_now_ms(agent->loop) + REAP_MS);
    agent->checks = checks_create(agent->log, (uint64_t)clock_wall_ms(), on_result, agent, text);
    return agent->checks != NULL;
}

void runners_keep_state(const char *check_id, const char *status, const char *output,
                        int64_t expires_wall_ms, void *context) {
    struct agent *agent = context;
    const struct check_definition *definition = local_get_definition(agent->local, check_id);
    if (definition == NULL || check_definition_kind(definition) != CHECK_TTL ||
        expires_wall_ms <= clock_wall_ms()) {
        return;
    }
    runners_tell(agent, check_id, status_literal(status), output);
    struct checks_resume resume = {
        .status = status, .output = output, .ttl_expires_wall_ms = expires_wall_ms};
    struct check_definition as = limited(agent, definition);
    local_set_runner(agent->local, check_id, checks_set(agent->checks, &as, &resume));
}

static void follow_check(const char *id, const struct check_definition *definition, void *context) {
    struct agent *agent = context;
    struct err_text text = {""};
    alias_follow(agent, id, definition);
    if (definition == NULL) {
        checks_remove(agent->checks, id);
        return;
    }
    enum check_kind kind = check_definition_kind(definition);
    bool runs = kind != CHECK_ALIAS && kind != CHECK_MAINTENANCE;
    bool remote = !local_is_of_file(agent->local, LOCAL_CHECK, id);
    if (!runs || runners_judge(agent, definition, remote, &text) != ERR_OK) {
        if (runs) {
            log_write(agent->log, LOG_WARN, MODULE, "check does not run: check=%s error=\"%s\"", id,
                      text.s);
        }
        checks_remove(agent->checks, id); /* a runner of the kind that it had before */
        local_set_runner(agent->local, id, 0);
        return;
    }
    bool ttl = kind == CHECK_TTL;
    if (ttl && !agent->runners_started && local_get_runner(agent->local, id) != 0) {
        return; /* runs since its kept state was read, with the deadline of that */
    }
    const struct catalog_check *check = local_get_check(local_next_view(agent->local), id);
    /* The engine itself keeps the note of a TTL check that it replaces. */
    struct checks_resume resume = {.status = check->status, .output = ttl ? "" : check->output};
    struct check_definition as = limited(agent, definition);
    local_set_runner(agent->local, id, checks_set(agent->checks, &as, &resume));
}

void runners_follow(struct agent *agent) {
    local_take_changed_checks(agent->local, follow_check, agent);
    agent->runners_started = true;
    alias_settle(agent);
}

/* The state is a help after a restart: the update counts without it. */
static void state_saved(void *context, enum err err, const struct err_text *text) {
    (void)err;
    (void)text;
    sync_release(context);
}

enum err runners_update_ttl(struct agent *agent, const char *id, const char *status,
                            const char *output, struct sync_wait *wait, struct err_text *text) {
    const struct check_definition *definition = local_get_definition(agent->local, id);
    if (definition == NULL) {
        return err_set(text, ERR_NOT_FOUND,
                       "Unknown check ID \"%.128s\". Ensure that the check ID is passed, not the "
                       "check name.",
                       id);
    }
    if (check_definition_kind(definition) != CHECK_TTL) {
        return err_set(text, ERR_REFUSED, "CheckID \"%.128s\" does not have associated TTL", id);
    }
    output = kept_output(agent, output);
    char *note = checks_format_note(output, limited(agent, definition).output_bytes_max);
    int64_t expires_wall_ms = clock_wall_ms() + definition->ttl_ns / DURATION_MS;
    runners_tell(agent, id, status, note);
    local_set_runner(agent->local, id, checks_update_ttl(agent->checks, id, status, output));
    if (agent->files != NULL) {
        sync_hold(wait);
        files_save_state(agent->files, id, status, note, expires_wall_ms, state_saved, wait);
    }
    free(note);
    return ERR_OK;
}

static bool adopt(const struct catalog_check *remote, void *context) {
    struct agent *agent = context;
    const struct check_definition *definition = local_get_definition(agent->local, remote->id);
    const struct catalog_check *mine = local_get_check(local_next_view(agent->local), remote->id);
    if (definition != NULL && mine != NULL && *mine->output == '\0' &&
        check_definition_kind(definition) != CHECK_TTL &&
        check_definition_kind(definition) != CHECK_ALIAS) {
        alias_note(agent, mine->service_id);
        local_update_check(agent->local, remote->id, remote->status, remote->output);
    }
    return true;
}

void runners_adopt(struct agent *agent, const struct catalog_view *view) {
    if (agent->adopted) {
        return;
    }
    agent->adopted = true;
    view_walk_node_checks(view, agent->facts.node_name, adopt, agent);
    agent->local_changed = true;
}
