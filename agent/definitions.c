/* Services and checks of the configuration files, as this agent's own registrations (contract 2.8):
 * what a file defines wins over what the API registered under the same id, is not kept on disk, and
 * goes when the file no longer has it. */
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/limits.h"
#include "base/mem.h"
#include "catalog/row.h"

#define DEFINITION_BYTES_MAX LIMIT_HTTP_BODY_BYTES

static bool defines_service(const struct config *config, const char *id) {
    for (uint32_t i = 0; i < config->service_count; i++) {
        if (strcmp(config->services[i].service.id, id) == 0) {
            return true;
        }
    }
    return false;
}

static bool defines_check(const struct config *config, const char *id) {
    for (uint32_t i = 0; i < config->check_count; i++) {
        if (strcmp(config->checks[i].id, id) == 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < config->service_count; i++) {
        const struct service_definition *service = &config->services[i];
        for (uint32_t j = 0; j < service->check_count; j++) {
            if (strcmp(service->checks[j].id, id) == 0) {
                return true;
            }
        }
    }
    return false;
}

static enum err judge_kind(const struct agent *agent, const struct check_definition *check,
                           struct err_text *text) {
    enum err err = runners_judge(agent, check, false, text);
    if (err != ERR_OK) {
        err_prefix(text, "Failed to register check \"%.128s\"", check->id);
    }
    return err;
}

static enum err judge_kinds(const struct agent *agent, const struct config *config,
                            struct err_text *text) {
    enum err err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < config->service_count; i++) {
        const struct service_definition *service = &config->services[i];
        for (uint32_t j = 0; err == ERR_OK && j < service->check_count; j++) {
            err = judge_kind(agent, &service->checks[j], text);
        }
    }
    for (uint32_t i = 0; err == ERR_OK && i < config->check_count; i++) {
        err = judge_kind(agent, &config->checks[i], text);
    }
    return err;
}

enum err definitions_judge(const struct agent *agent, const struct config *config,
                           struct err_text *text) {
    for (uint32_t i = 0; i < config->check_count; i++) {
        const char *id = config->checks[i].service_id;
        bool registered = local_get_service(local_next_view(agent->local), id) != NULL &&
                          !local_is_of_file(agent->local, LOCAL_SERVICE, id);
        if (*id != '\0' && !registered && !defines_service(config, id)) {
            return err_set(text, ERR_INVALID,
                           "Failed to register check \"%.128s\": ServiceID \"%.128s\" does not "
                           "exist",
                           config->checks[i].id, id);
        }
    }
    return judge_kinds(agent, config, text);
}

/* ---- what has not changed is left alone, so that its runner keeps its place ---- */

static bool same_definition(const struct check_definition *a, const struct check_definition *b) {
    const struct check_definition *both[] = {a, b};
    struct buf texts[2];
    for (size_t i = 0; i < 2; i++) {
        struct json json;
        buf_init(&texts[i], DEFINITION_BYTES_MAX);
        json_init(&json, &texts[i], false);
        definition_write_check(&json, both[i]);
    }
    bool same = !texts[0].failed && !texts[1].failed && texts[0].count == texts[1].count &&
                memcmp(texts[0].data, texts[1].data, texts[0].count) == 0 &&
                str_list_equal(&a->service_tags, &b->service_tags) &&
                strcmp(a->service_name, b->service_name) == 0;
    buf_clear(&texts[0]);
    buf_clear(&texts[1]);
    return same;
}

static bool check_is_there(struct agent *agent, const struct check_definition *check, bool bare) {
    const struct check_definition *old = local_get_definition(agent->local, check->id);
    return old != NULL && local_is_of_file(agent->local, LOCAL_CHECK, check->id) &&
           local_check_is_bare(agent->local, check->id) == bare && same_definition(old, check);
}

static bool service_is_there(struct agent *agent, const struct service_definition *service) {
    const struct catalog_service *old =
        local_get_service(local_next_view(agent->local), service->service.id);
    struct catalog_service wanted = service->service;
    wanted.node = agent->facts.node_name;
    bool same = old != NULL && local_is_of_file(agent->local, LOCAL_SERVICE, service->service.id) &&
                row_equal_service(old, &wanted);
    for (uint32_t i = 0; same && i < service->check_count; i++) {
        same = check_is_there(agent, &service->checks[i], false);
    }
    return same;
}

/* ---- setting ---- */

/* Whatever the API registered under the id is gone for good. */
static void mark(struct agent *agent, enum local_kind kind, const char *id) {
    local_mark_of_file(agent->local, kind, id);
    if (agent->files != NULL) {
        files_forget(agent->files, kind, id);
    }
}

/* For aliases, and for who waits for the service. */
static void note_service(struct agent *agent, const char *id) {
    alias_note(agent, id);
    watches_mark(agent->watches, WATCH_LOCAL_SERVICE, id);
}

static void set_service(struct agent *agent, const struct service_definition *service) {
    if (service_is_there(agent, service)) {
        return;
    }
    local_set_service(agent->local, service, false);
    note_service(agent, service->service.id);
    mark(agent, LOCAL_SERVICE, service->service.id);
    for (uint32_t i = 0; i < service->check_count; i++) {
        mark(agent, LOCAL_CHECK, service->checks[i].id);
    }
}

static void set_check(struct agent *agent, const struct check_definition *check) {
    struct check_definition bound = *check;
    const struct catalog_service *service =
        local_get_service(local_next_view(agent->local), check->service_id);
    if (*check->service_id != '\0' && service != NULL) {
        bound.service_name = service->name;
        bound.service_tags = service->tags;
    }
    if (!check_is_there(agent, &bound, true) &&
        local_set_check(agent->local, check, true) == ERR_OK) {
        mark(agent, LOCAL_CHECK, check->id);
    }
}

/* ---- sweeping ---- */

struct sweep {
    struct agent *agent;
    const struct config *config;
    char **services, **checks;
    size_t service_count, check_count;
};

static void add_id(char ***ids, size_t *count, const char *id) {
    *ids = mem_realloc(*ids, (*count + 1) * sizeof **ids);
    (*ids)[(*count)++] = mem_strdup(id);
}

static bool sweep_service(const struct catalog_service *service, void *context) {
    struct sweep *sweep = context;
    if (local_is_of_file(sweep->agent->local, LOCAL_SERVICE, service->id) &&
        !defines_service(sweep->config, service->id)) {
        add_id(&sweep->services, &sweep->service_count, service->id);
    }
    return true;
}

static bool sweep_check(const struct catalog_check *check, void *context) {
    struct sweep *sweep = context;
    if (local_is_of_file(sweep->agent->local, LOCAL_CHECK, check->id) &&
        !defines_check(sweep->config, check->id)) {
        add_id(&sweep->checks, &sweep->check_count, check->id);
    }
    return true;
}

static void sweep(struct agent *agent, const struct config *config) {
    struct sweep all = {.agent = agent, .config = config};
    const struct local_view *view = local_next_view(agent->local);
    local_walk_checks(view, sweep_check, &all);
    local_walk_services(view, sweep_service, &all);
    for (size_t i = 0; i < all.check_count; i++) {
        local_remove_check(agent->local, all.checks[i]);
        free(all.checks[i]);
    }
    for (size_t i = 0; i < all.service_count; i++) {
        local_remove_service(agent->local, all.services[i]);
        note_service(agent, all.services[i]);
        free(all.services[i]);
    }
    free(all.checks);
    free(all.services);
}

void definitions_apply(struct agent *agent, const struct config *config) {
    for (uint32_t i = 0; i < config->service_count; i++) {
        set_service(agent, &config->services[i]);
    }
    for (uint32_t i = 0; i < config->check_count; i++) {
        set_check(agent, &config->checks[i]);
    }
    sweep(agent, config);
}
