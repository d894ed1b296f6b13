/* The store's threads as coroutines of the simulator's one thread. They give way at each call of
 * the disk that is made without a lock, and where they wait; so a lock is never contended. */
#define SIM_GROUP_REAL
#include "tests/sim/group/replaced.h"

#include <errno.h>
#include <stdlib.h>
#include <ucontext.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/thread.h"
#include "tests/sim/group/group.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(fake, stack, size) __sanitizer_start_switch_fiber(fake, stack, size)
#define SWITCH_END(fake, stack, size) __sanitizer_finish_switch_fiber(fake, stack, size)
#else
#define SWITCH_BEGIN(fake, stack, size) ((void)(fake), (void)(stack), (void)(size))
#define SWITCH_END(fake, stack, size) ((void)(fake), (void)(stack), (void)(size))
#endif

#define STACK_BYTES (256 * 1024)

struct coroutine {
    struct coroutine *next;
    struct server *server;
    ucontext_t place;
    uint8_t *stack;
    void *fake_stack; /* the sanitizer's */
    void *(*run)(void *context);
    void *context;
    pthread_cond_t *waits_for; /* NULL: goes on at due_at */
    uint64_t due_at;
    unsigned locks;
    bool timed; /* waits for the condition until due_at */
    bool ended, draining;
};

static struct coroutine *all;     /* of all servers */
static struct coroutine *running; /* NULL: the core's thread */
static ucontext_t core;
static void *core_fake_stack;
static const void *core_stack;
static size_t core_stack_bytes;

static void wake_at(struct coroutine *coroutine, uint64_t delay_us) {
    struct world *world = coroutine->server->world;
    coroutine->waits_for = NULL;
    coroutine->timed = false;
    coroutine->due_at = world->now + delay_us;
    world_post(world, delay_us, EVENT_THREAD, coroutine->server)->a = (uintptr_t)coroutine;
}

static void give_way(void) {
    struct coroutine *self = running;
    SWITCH_BEGIN(self->ended ? NULL : &self->fake_stack, core_stack, core_stack_bytes);
    swapcontext(&self->place, &core);
    SWITCH_END(self->fake_stack, &core_stack, &core_stack_bytes);
}

static void begin(void) {
    SWITCH_END(NULL, &core_stack, &core_stack_bytes);
    struct coroutine *self = running;
    self->run(self->context);
    self->ended = true;
    give_way();
}

static void resume(struct coroutine *coroutine) {
    ASSERT(running == NULL && !coroutine->ended);
    server_enter(coroutine->server);
    running = coroutine;
    SWITCH_BEGIN(&core_fake_stack, coroutine->stack, STACK_BYTES);
    swapcontext(&core, &coroutine->place);
    SWITCH_END(core_fake_stack, NULL, NULL);
    running = NULL;
}

void sim_thread_step(struct server *server, const struct event *event) {
    struct coroutine *coroutine = all;
    while (coroutine != NULL && (uintptr_t)coroutine != event->a) {
        coroutine = coroutine->next;
    }
    if (coroutine != NULL && !coroutine->ended && coroutine->due_at == event->at &&
        (coroutine->waits_for == NULL || coroutine->timed)) {
        resume(coroutine);
        server_leave(server);
    }
}

/* Before each call of the disk: it takes a while, or hangs. */
static void pause_at_disk(enum disk_call call) {
    if (running == NULL || running->locks > 0 || running->draining) {
        return;
    }
    struct world *world = running->server->world;
    uint64_t most = call == DISK_SYNC ? 2 * MS : call == DISK_WRITE ? 200 : 100;
    uint64_t delay = world_between(world, call == DISK_SYNC ? 50 : 1, most);
    if (call == DISK_SYNC && world_one_in(world, 50)) {
        delay = world_between(world, 0, world_one_in(world, 4) ? 300 * MS : 40 * MS);
    }
    if (running->server->hang_until > world->now) {
        delay += running->server->hang_until - world->now;
    }
    wake_at(running, delay);
    give_way();
}

/* ---- base/thread.h ---- */

void thread_init_condition(pthread_cond_t *condition) {
    (void)condition;
}

void thread_start(struct thread *thread, void *(*run)(void *context), void *context) {
    struct coroutine *coroutine = mem_calloc(1, sizeof *coroutine);
    coroutine->server = here;
    coroutine->stack = mem_alloc(STACK_BYTES);
    coroutine->run = run;
    coroutine->context = context;
    getcontext(&coroutine->place);
    coroutine->place.uc_stack.ss_sp = coroutine->stack;
    coroutine->place.uc_stack.ss_size = STACK_BYTES;
    makecontext(&coroutine->place, begin, 0);
    coroutine->next = all;
    all = coroutine;
    thread->id = (pthread_t)(uintptr_t)coroutine;
    thread->ended = false;
    disk_set_pause(pause_at_disk);
    wake_at(coroutine, world_between(here->world, 1, 100));
}

void thread_end(struct thread *thread) {
    thread->ended = true;
}

/* Turns are the simulator's. */
void thread_raise(void) {
}

/* What it still has to do is done at once: the disk has crashed, or hangs no more. */
bool thread_join_within(struct thread *thread, uint64_t timeout_ms) {
    struct coroutine *coroutine = (struct coroutine *)(uintptr_t)thread->id;
    (void)timeout_ms;
    ASSERT(running == NULL);
    coroutine->draining = true;
    coroutine->waits_for = NULL;
    for (uint32_t i = 0; !coroutine->ended; i++) {
        ASSERT(i < 1000000);
        resume(coroutine);
    }
    struct coroutine **at = &all;
    while (*at != coroutine) {
        at = &(*at)->next;
    }
    *at = coroutine->next;
    free(coroutine->stack);
    free(coroutine);
    return true;
}

struct timespec thread_deadline(uint64_t ms) {
    return (struct timespec){.tv_sec = (time_t)ms};
}

/* ---- pthread.h ---- */

int sim_mutex_lock(pthread_mutex_t *mutex) {
    (void)mutex;
    if (running != NULL) {
        running->locks++;
    }
    return 0;
}

int sim_mutex_unlock(pthread_mutex_t *mutex) {
    (void)mutex;
    if (running != NULL) {
        ASSERT(running->locks > 0);
        running->locks--;
    }
    return 0;
}

int sim_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    (void)mutex;
    if (!running->draining) {
        running->waits_for = condition;
    }
    give_way();
    return 0;
}

int sim_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                       const struct timespec *at) {
    (void)mutex;
    (void)condition;
    if (!running->draining) {
        wake_at(running, (uint64_t)at->tv_sec * MS);
        running->waits_for = condition; /* whichever comes first */
        running->timed = true;
    }
    give_way();
    bool timed_out = running->waits_for != NULL;
    running->waits_for = NULL;
    running->timed = false;
    return timed_out ? ETIMEDOUT : 0;
}

int sim_cond_signal(pthread_cond_t *condition) {
    for (struct coroutine *coroutine = all; coroutine != NULL; coroutine = coroutine->next) {
        if (coroutine->waits_for == condition) {
            wake_at(coroutine, world_between(coroutine->server->world, 1, 100));
            break;
        }
    }
    return 0;
}
