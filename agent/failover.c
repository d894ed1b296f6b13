#include "agent/failover.h"

#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "http/datacenters.h"

#define MODULE "agent.failover"
#define TICK_MS 250  /* while a service is away */
#define IDLE_MS 1000 /* else: the datacenters are looked at */

struct failover {
    struct agent *agent;
    struct failover_core *core;
    struct loop_timer timer;
    atomic_uint notes; /* on their way here */
};

struct note {
    struct loop_task task; /* first */
    struct failover *failover;
    bool sick[2]; /* home had no instance that is not critical; none that passes */
    char *where;  /* behind the service */
    char service[];
};

/* ---- datacenters ---- */

/* Others, the nearest first. Names live with the pool's block. */
static struct str_list list_datacenters(const struct agent *agent, struct arena *arena) {
    struct http_datacenters all = http_datacenters_list(&agent->backend, arena);
    const char **v = arena_alloc(arena, all.count * sizeof *v);
    struct str_list list = {v, 0};
    for (uint32_t i = 0; i < all.count; i++) {
        if (strcmp(all.v[i].name, agent->facts.datacenter) != 0) {
            v[list.count++] = all.v[i].name;
        }
    }
    return list;
}

/* ---- the state that readers see ---- */

static void publish(struct failover *failover, const struct str_list *datacenters) {
    struct agent *agent = failover->agent;
    const struct failover_state *old = atomic_exchange(
        &agent->failover_source.state, failover_core_state(failover->core, datacenters));
    epoch_retire(agent->epoch, (void *)(uintptr_t)old);
}

/* Who is judged, and the memory for it. */
struct judging {
    struct agent *agent;
    struct arena *arena;
};

static void judge(const char *service, const char *where, void *context,
                  struct failover_judged *ret) {
    struct judging *judging = context;
    struct agent *agent = judging->agent;
    failover_judge(&agent->failover_source, catalog_view(agent->catalog), service, where,
                   agent->live->dns.only_passing, judging->arena, ret);
}

static void tick(struct loop_timer *timer) {
    struct failover *failover = CONTAINER_OF(timer, struct failover, timer);
    struct agent *agent = failover->agent;
    const struct failover_state *state = atomic_load(&agent->failover_source.state);
    int64_t now_ms = loop_now_ms(agent->loop);
    struct arena arena;
    arena_init(&arena);
    struct str_list datacenters = list_datacenters(agent, &arena);
    struct judging judging = {agent, &arena};
    bool changed = failover_core_step(failover->core, now_ms, judge, &judging);
    if (changed || !str_list_equal(&datacenters, &state->datacenters)) {
        publish(failover, &datacenters);
    }
    arena_clear(&arena);
    bool away = failover_core_count(failover->core) > 0;
    loop_timer_start(agent->loop, timer, now_ms + (away ? TICK_MS : IDLE_MS));
}

/* ---- what lookups call ---- */

static void take_note(struct loop_task *task) {
    struct note *note = (struct note *)task;
    struct failover *failover = note->failover;
    struct agent *agent = failover->agent;
    size_t before = failover_core_count(failover->core);
    atomic_fetch_sub(&failover->notes, 1);
    /* One with a tag may be missing while others are healthy: nothing is held down for that. What
     * counts is what home was when the client was sent away: it may be well again by now. */
    if (note->sick[agent->live->dns.only_passing]) {
        failover_core_note(failover->core, note->service, note->where, loop_now_ms(agent->loop));
    }
    if (failover_core_count(failover->core) != before) {
        const struct failover_state *state = atomic_load(&agent->failover_source.state);
        struct str_list datacenters = state->datacenters;
        log_write(agent->log, LOG_WARN, MODULE,
                  "no healthy instance here, answered from elsewhere: service=%s datacenter=%s",
                  note->service, note->where);
        publish(failover, &datacenters);
        loop_timer_start(agent->loop, &failover->timer, loop_now_ms(agent->loop) + TICK_MS);
    }
    free(note);
}

static void post_note(void *context, const char *service, const char *where) {
    struct agent *agent = context;
    struct failover *failover = agent->failover;
    size_t size = strlen(service) + 1, where_size = strlen(where) + 1;
    if (atomic_fetch_add(&failover->notes, 1) >= LIMIT_FAILOVER_NOTES) {
        atomic_fetch_sub(&failover->notes, 1);
        return; /* the next lookup tells again */
    }
    struct note *note = mem_calloc(1, sizeof *note + size + where_size);
    note->task.run = take_note;
    note->failover = failover;
    note->where = note->service + size;
    const struct catalog_view *view = catalog_view(agent->catalog);
    note->sick[0] = !failover_is_healthy(view, service, false);
    note->sick[1] = !failover_is_healthy(view, service, true);
    memcpy(note->service, service, size);
    memcpy(note->where, where, where_size);
    loop_post(agent->loop, &note->task);
}

static bool look(void *context, const char *datacenter, struct failover_place *ret_place) {
    const struct backend *backend = &((struct agent *)context)->backend;
    struct backend_mirror mirror;
    if (backend->get_mirror == NULL ||
        !backend->get_mirror(backend->context, datacenter, &mirror)) {
        return false;
    }
    *ret_place = (struct failover_place){datacenter, mirror.view, mirror.age_ms};
    return true;
}

/* ---- life ---- */

void failover_start(struct agent *agent) {
    const struct config *config = agent->config;
    struct failover *failover = mem_calloc(1, sizeof *failover);
    struct str_list none = {NULL, 0};
    failover->agent = agent;
    failover->core = failover_core_create();
    failover->timer.run = tick;
    agent->failover = failover;
    agent->failover_source.context = agent;
    agent->failover_source.look = look;
    agent->failover_source.note = post_note;
    agent->failover_source.defaults =
        (struct failover_defaults){.enabled = config->failover.enabled,
                                   .nearest = config->failover.nearest,
                                   .datacenters = config->failover.datacenters,
                                   .hold_down_ns = config->failover.hold_down_ns};
    atomic_init(&agent->failover_source.state, failover_core_state(failover->core, &none));
    loop_timer_start(agent->loop, &failover->timer, loop_now_ms(agent->loop) + IDLE_MS);
}

void failover_stop(struct agent *agent) {
    struct failover *failover = agent->failover;
    if (failover == NULL) {
        return;
    }
    loop_timer_stop(agent->loop, &failover->timer);
    free((void *)(uintptr_t)atomic_load(&agent->failover_source.state));
    failover_core_destroy(failover->core);
    free(failover);
    agent->failover = NULL;
}
