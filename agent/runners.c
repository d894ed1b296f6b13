#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/duration.h"
#include "base/mem.h"

#define MODULE "agent"

/* What is kept of a check's output. */
static const char *kept_output(const struct agent *agent, const char *output) {
    return agent->live->discard_check_output ? "" : output;
}

/* With the agent's bound on output, which a check's own can only lower. */
static struct check_definition limited(const struct agent *agent,
                                       const struct check_definition *definition) {
    struct check_definition out = *definition;
    int64_t max = agent->config->check_output_max_size;
    if (out.output_bytes_max == 0 || out.output_bytes_max > max) {
        out.output_bytes_max = max;
    }
    return out;
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

static void result_arrived(struct loop_task *task) {
    struct result_task *result = (struct result_task *)task;
    struct agent *agent = result->agent;
    const struct catalog_check *check = local_get_check(local_next_view(agent->local), result->id);
    if (check != NULL && local_get_runner(agent->local, result->id) == result->generation) {
        bool changed = strcmp(check->status, result->status) != 0;
        if (changed && strcmp(result->status, "critical") == 0) {
            log_write(agent->log, LOG_WARN, MODULE, "Check is now critical: check=%s", result->id);
        } else if (changed) {
            log_write(agent->log, LOG_DEBUG, MODULE, "Check status updated: check=%s status=%s",
                      result->id, result->status);
        }
        update(agent, result->id, result->status, kept_output(agent, result->output));
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

bool runners_create(struct agent *agent, struct err_text *text) {
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
    local_update_check(agent->local, check_id, status_literal(status), output);
    struct checks_resume resume = {
        .status = status, .output = output, .ttl_expires_wall_ms = expires_wall_ms};
    struct check_definition run = limited(agent, definition);
    local_set_runner(agent->local, check_id, checks_set(agent->checks, &run, &resume));
}

static void follow_check(const char *id, const struct check_definition *definition, void *context) {
    struct agent *agent = context;
    if (definition == NULL) {
        checks_remove(agent->checks, id);
        return;
    }
    struct err_text text;
    if (checks_supports(check_definition_kind(definition), &text) != ERR_OK) {
        log_write(agent->log, LOG_WARN, MODULE, "check does not run: check=%s error=\"%s\"", id,
                  text.s);
        checks_remove(agent->checks, id); /* a runner of the kind that it had before */
        local_set_runner(agent->local, id, 0);
        return;
    }
    bool ttl = check_definition_kind(definition) == CHECK_TTL;
    if (ttl && !agent->runners_started && local_get_runner(agent->local, id) != 0) {
        return; /* runs since its kept state was read, with the deadline of that */
    }
    const struct catalog_check *check = local_get_check(local_next_view(agent->local), id);
    /* The engine itself keeps the note of a TTL check that it replaces. */
    struct checks_resume resume = {.status = check->status, .output = ttl ? "" : check->output};
    struct check_definition run = limited(agent, definition);
    local_set_runner(agent->local, id, checks_set(agent->checks, &run, &resume));
}

void runners_follow(struct agent *agent) {
    local_take_changed_checks(agent->local, follow_check, agent);
    agent->runners_started = true;
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
    update(agent, id, status, note);
    local_set_runner(agent->local, id, checks_update_ttl(agent->checks, id, status, output));
    if (agent->files != NULL) {
        sync_hold(wait);
        files_save_state(agent->files, id, status, note, expires_wall_ms, sync_file_saved, wait);
    }
    free(note);
    return ERR_OK;
}

static bool adopt(const struct catalog_check *remote, void *context) {
    struct agent *agent = context;
    const struct check_definition *definition = local_get_definition(agent->local, remote->id);
    const struct catalog_check *mine = local_get_check(local_next_view(agent->local), remote->id);
    if (definition != NULL && mine != NULL && *mine->output == '\0' &&
        check_definition_kind(definition) != CHECK_TTL) {
        local_update_check(agent->local, remote->id, remote->status, remote->output);
    }
    return true;
}

void runners_adopt(struct agent *agent) {
    if (agent->adopted) {
        return;
    }
    agent->adopted = true;
    epoch_enter(agent->epoch);
    view_walk_node_checks(catalog_view(agent->catalog), agent->facts.node_name, adopt, agent);
    epoch_exit(agent->epoch);
    agent->local_changed = true;
}
