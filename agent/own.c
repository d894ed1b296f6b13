#include "agent/own.h"

#include <stdlib.h>

#include "agent/internal.h"
#include "base/mem.h"
#include "catalog/row.h"

struct following {
    struct agent *agent;
    const struct catalog_view *view; /* as it was published last */
    bool changed;
    /* Ids of what is no longer registered; borrowed from the view. */
    const char **gone;
    size_t gone_count, gone_capacity;
};

static void apply(struct following *following, const struct catalog_command *command) {
    struct agent *agent = following->agent;
    struct buf out;
    struct err_text text;
    size_t size = 0;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    uint8_t *data = (uint8_t *)buf_take(&out, &size);
    if (data != NULL) { /* what no entry of the log can hold is not known to DNS either */
        (void)catalog_apply(agent->own, ++agent->own_index, data, size, NULL, &text);
        following->changed = true;
    }
    free(data);
}

static void put(struct following *following, const struct catalog_service *service,
                const struct catalog_check *check) {
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = following->agent->node,
                                              .service = service,
                                              .checks = check,
                                              .check_count = check != NULL}};
    apply(following, &command);
}

static void take_away(struct following *following, const char *service_id, const char *check_id) {
    struct catalog_command command = {.kind = COMMAND_DEREGISTER,
                                      .dereg = {.node = following->agent->facts.node_name,
                                                .service_id = service_id,
                                                .check_id = check_id}};
    apply(following, &command);
}

static bool put_service(const struct catalog_service *service, void *context) {
    struct following *following = context;
    const struct catalog_service *known =
        view_get_service(following->view, following->agent->facts.node_name, service->id);
    if (known == NULL || !row_equal_service(known, service)) {
        put(following, service, NULL);
    }
    return true;
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct following *following = context;
    const struct catalog_check *known =
        view_get_check(following->view, following->agent->facts.node_name, check->id);
    if (known == NULL || !row_equal_check(known, check)) {
        put(following, NULL, check);
    }
    return true;
}

static void note_gone(struct following *following, const char *id) {
    if (following->gone_count == following->gone_capacity) {
        following->gone_capacity = following->gone_capacity == 0 ? 8 : 2 * following->gone_capacity;
        following->gone =
            mem_realloc(following->gone, following->gone_capacity * sizeof *following->gone);
    }
    following->gone[following->gone_count++] = id;
}

static bool look_at_service(const struct catalog_service *service, void *context) {
    struct following *following = context;
    if (local_get_service(local_view(following->agent->local), service->id) == NULL) {
        note_gone(following, service->id);
    }
    return true;
}

static bool look_at_check(const struct catalog_check *check, void *context) {
    struct following *following = context;
    if (local_get_check(local_view(following->agent->local), check->id) == NULL) {
        note_gone(following, check->id);
    }
    return true;
}

static void take_gone(struct following *following, bool services) {
    for (size_t i = 0; i < following->gone_count; i++) {
        take_away(following, services ? following->gone[i] : "",
                  services ? "" : following->gone[i]);
    }
    following->gone_count = 0;
}

void own_follow(struct agent *agent) {
    struct following following = {.agent = agent};
    const char *node = agent->facts.node_name;
    agent->own_version = local_view_version(local_view(agent->local));
    epoch_enter(agent->epoch);
    following.view = catalog_view(agent->own);
    const struct catalog_node *known = view_get_node(following.view, node);
    if (known == NULL || !row_equal_node(known, &agent->node)) {
        put(&following, NULL, NULL);
    }
    view_walk_node_checks(following.view, node, look_at_check, &following);
    take_gone(&following, false);
    view_walk_node_services(following.view, node, look_at_service, &following);
    take_gone(&following, true);
    local_walk_services(local_view(agent->local), put_service, &following);
    local_walk_checks(local_view(agent->local), put_check, &following);
    epoch_exit(agent->epoch);
    if (following.changed) {
        catalog_publish(agent->own);
    }
    free(following.gone);
}
