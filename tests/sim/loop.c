/* net/loop.h on the virtual clock, built as world.c is. A turn: timers that are due, what has
 * arrived, the inbox, the turn's end. Its process may stand still behind the reading of the clock.
 */
#include "net/loop.h"

#include <stdlib.h>

#include "base/mem.h"
#include SIM_WORLD

#ifndef SIM_STILL_US
#define SIM_STILL_US (1500 * MS)
#endif

struct loop {
    struct server *server;
    struct timers timers;
    struct loop_task *first, **last;
    int64_t now_ms;
    uint64_t turn_at; /* of the turn that is to come; 0: none */
    bool still;       /* stands still within a turn */
    void (*turn_end)(void *context);
    void *turn_end_context;
};

struct loop *sim_loop_create(struct server *server) {
    struct loop *loop = mem_calloc(1, sizeof *loop);
    loop->server = server;
    loop->last = &loop->first;
    timers_init(&loop->timers);
    loop->now_ms = (int64_t)server_now_ms(server);
    return loop;
}

void sim_loop_destroy(struct loop *loop) {
    loop_flush(loop);
    timers_clear(&loop->timers);
    free(loop);
}

void sim_loop_wake(struct loop *loop, uint64_t delay_us) {
    struct world *world = loop->server->world;
    uint64_t at = world->now + delay_us;
    if (!loop->still && (loop->turn_at == 0 || at < loop->turn_at)) {
        loop->turn_at = at;
        world_post(world, delay_us, EVENT_TURN, loop->server);
    }
}

static void run_inbox(struct loop *loop) {
    struct loop_task *task = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    while (task != NULL) {
        struct loop_task *next = task->next;
        task->run(task);
        task = next;
    }
}

static void run_timers(struct loop *loop) {
    struct timer *timer;
    while ((timer = timers_take_due(&loop->timers, loop->now_ms)) != NULL) {
        struct loop_timer *due = (struct loop_timer *)timer;
        due->run(due);
    }
}

static void plan(struct loop *loop) {
    struct world *world = loop->server->world;
    if (loop->first != NULL || sim_rpc_waits(loop->server->rpc)) {
        sim_loop_wake(loop, world_between(world, 1, 30));
    }
    int64_t next_ms = timers_next_ms(&loop->timers);
    if (next_ms != INT64_MAX) {
        sim_loop_wake(loop, server_delay_us(loop->server, next_ms) + world_between(world, 0, 500));
    }
}

static void run_turn(struct loop *loop) {
    struct server *server = loop->server;
    uint32_t life = server->life;
    server_enter(server);
    run_timers(loop);
    bool inbox_first = world_one_in(server->world, 2);
    if (inbox_first) {
        run_inbox(loop);
    }
    sim_rpc_run(server->rpc);
    if (!inbox_first) {
        run_inbox(loop);
    }
    loop->turn_end(loop->turn_end_context);
    if (server->life == life && server->up) {
        server_turn_ended(server);
        plan(loop);
        server_leave(server);
    }
}

void sim_loop_turn(struct server *server, const struct event *event) {
    struct world *world = server->world;
    struct loop *loop = server->loop;
    if (loop->turn_at != event->at || loop->still) {
        return; /* an earlier one came */
    }
    loop->turn_at = 0;
    loop->now_ms = (int64_t)server_now_ms(server);
    if (!world->calm && (server->stands_still || world_one_in(world, 3000))) {
        uint64_t most = server->stands_still || world_one_in(world, 2) ? SIM_STILL_US : 50 * MS;
        loop->still = true;
        server->stands_still = false;
        world_post(world, world_between(world, 1 * MS, most), EVENT_BODY, server);
        return;
    }
    run_turn(loop);
}

void sim_loop_body(struct server *server) {
    server->loop->still = false;
    run_turn(server->loop);
}

/* ---- net/loop.h ---- */

void loop_post(struct loop *loop, struct loop_task *task) {
    task->next = NULL;
    *loop->last = task;
    loop->last = &task->next;
    struct world *world = loop->server->world;
    sim_loop_wake(loop, world_between(world, 5, world_one_in(world, 20) ? 5 * MS : 100));
}

void loop_flush(struct loop *loop) {
    while (loop->first != NULL) {
        run_inbox(loop);
    }
}

int64_t loop_now_ms(const struct loop *loop) {
    return loop->now_ms;
}

void loop_set_turn_end(struct loop *loop, void (*turn_end)(void *context), void *context) {
    loop->turn_end = turn_end;
    loop->turn_end_context = context;
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms) {
    timer_start(&loop->timers, &timer->timer, deadline_ms);
    sim_loop_wake(loop, server_delay_us(loop->server, deadline_ms));
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer) {
    timer_stop(&loop->timers, &timer->timer);
}

int64_t clock_monotonic_ms(void) {
    return (int64_t)server_now_ms(here);
}

int64_t clock_wall_ms(void) {
    return 1700000000000 + clock_monotonic_ms();
}
