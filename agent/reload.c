/* Reading the configuration anew (contract 2.9): on a thread of its own, because files may hang;
 * then the core takes over what may change while it runs. A bad configuration changes nothing. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/container.h"
#include "base/mem.h"
#include "base/thread.h"

#define MODULE "agent"

struct reading {
    struct loop_task task; /* first */
    struct agent *agent;
    pthread_t thread;
    struct arena arena;
    struct config config;
    enum err err;
    const char *error;
    struct reload_wait *waits; /* whom it answers */
    struct sync_wait told;     /* the catalog knows */
    struct err_text text;
    bool joined;
};

/* The thread. */
static void *read_config(void *context) {
    struct reading *reading = context;
    struct config_source source = *reading->agent->source;
    enum config_outcome outcome;
    source.running = reading->agent->live;
    reading->err =
        config_load(&source, &reading->arena, &reading->config, &outcome, &reading->error);
    loop_post(reading->agent->loop, &reading->task);
    return NULL;
}

static void log_warnings(struct agent *agent, const struct config *config) {
    for (uint32_t i = 0; i < config->warnings.count; i++) {
        log_write(agent->log, LOG_WARN, MODULE, "%s", config->warnings.v[i]);
    }
}

/* node_meta, enable_debug, discard_check_output: what has no part of its own. */
static void take_live(struct agent *agent, struct reading *reading) {
    struct live_config *old = agent->live_owner, *owner = mem_calloc(1, sizeof *owner);
    bool same_node = str_map_equal(&agent->live->node_meta, &reading->config.node_meta);
    owner->arena = reading->arena;
    owner->config = reading->config;
    arena_init(&reading->arena);
    agent->live_owner = owner;
    agent->live = &owner->config;
    describe_live(agent, agent->live, &owner->arena);
    if (!same_node) {
        sync_node(agent->sync, &reading->told);
    }
    if (old != NULL) {
        arena_clear(&old->arena);
        free(old);
    }
}

/* Those that the API gave to a service of a file went with it. */
static void forget_removed(const char *id, const struct check_definition *definition,
                           void *context) {
    struct agent *agent = context;
    if (definition == NULL && agent->files != NULL) {
        files_forget(agent->files, LOCAL_CHECK, id);
    }
}

static void apply(struct agent *agent, struct reading *reading) {
    const struct config *config = &reading->config;
    log_warnings(agent, config);
    log_set_level(agent->log, config->log.level);
    if (agent->dns != NULL) {
        dns_reload(agent, config);
    }
    telemetry_reload(agent, config);
    http_server_set_connections_per_client(agent->http, config->http.max_conns_per_client);
    definitions_apply(agent, config);
    agent_watch(agent, config);
    take_live(agent, reading);
    local_walk_changed_checks(agent->local, forget_removed, agent);
    runners_follow(agent);
    local_publish(agent->local);
    http_server_wake(agent->http);
    sync_run(agent->sync, &reading->told);
}

static void answer(struct sync_wait *told) {
    struct reading *reading = CONTAINER_OF(told, struct reading, told);
    for (struct reload_wait *wait = reading->waits, *next; wait != NULL; wait = next) {
        next = wait->next;
        wait->done(wait, reading->err, &reading->text);
    }
    arena_clear(&reading->arena);
    free(reading);
}

static void start_reading(struct agent *agent);

static void read_done(struct loop_task *task) {
    struct reading *reading = (struct reading *)task;
    struct agent *agent = reading->agent;
    if (!reading->joined) {
        pthread_join(reading->thread, NULL);
    }
    agent->reading = NULL;
    reading->told.done = answer;
    sync_hold(&reading->told);
    if (reading->err != ERR_OK) {
        err_set(&reading->text, reading->err, "%s", reading->error);
    } else {
        reading->err = definitions_judge(agent, &reading->config, &reading->text);
    }
    if (reading->err != ERR_OK) {
        log_write(agent->log, LOG_ERROR, MODULE, "Reload config failed: error=\"%s\"",
                  reading->text.s);
    } else if (!agent->stopping) {
        apply(agent, reading);
        log_write(agent->log, LOG_INFO, MODULE, "Configuration reloaded");
    }
    sync_release(&reading->told);
    if ((agent->reload_waits != NULL || agent->reload_wanted) && !agent->stopping) {
        start_reading(agent);
    }
}

static void start_reading(struct agent *agent) {
    struct reading *reading = mem_calloc(1, sizeof *reading);
    reading->agent = agent;
    reading->task.run = read_done;
    reading->waits = agent->reload_waits;
    agent->reload_waits = NULL;
    agent->reload_wanted = false;
    arena_init(&reading->arena);
    agent->reading = reading;
    thread_start_brief(&reading->thread, read_config, reading);
}

void reload_start(struct agent *agent, struct reload_wait *wait) {
    if (wait != NULL) {
        wait->next = agent->reload_waits;
        agent->reload_waits = wait;
    }
    agent->reload_wanted = true;
    if (agent->reading == NULL) {
        start_reading(agent); /* else after the present one: its files may be older */
    }
}

void reload_stop(struct agent *agent) {
    if (agent->reading != NULL) {
        pthread_join(agent->reading->thread, NULL);
        agent->reading->joined = true; /* its task is in the loop's inbox */
    }
}

void reload_clear(struct agent *agent) {
    if (agent->live_owner != NULL) {
        arena_clear(&agent->live_owner->arena);
        free(agent->live_owner);
    }
}
