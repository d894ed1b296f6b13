#include "net/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

struct loop_poll {
    uv_poll_t handle; /* first */
    void (*ready)(void *context, int events);
    void *context;
};

struct loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    _Atomic(struct loop_task *) inbox; /* newest first */
    _Atomic bool stopping;
    struct timers timers;
    int64_t now_ms;
    void (*turn_end)(void *context);
    void *turn_end_context;
    struct loop_poll *signal_poll;
    int signal_fd;
    void (*signal_arrived)(void *context, int signal);
    void *signal_context;
};

int64_t clock_monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void refresh(struct loop *loop) {
    loop->now_ms = clock_monotonic_ms();
}

static void run_inbox(struct loop *loop) {
    struct loop_task *newest = atomic_exchange(&loop->inbox, NULL);
    struct loop_task *oldest = NULL;
    while (newest != NULL) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct loop_task *task = oldest;
        oldest = oldest->next;
        task->run(task);
    }
}

void loop_flush(struct loop *loop) {
    while (atomic_load(&loop->inbox) != NULL) {
        run_inbox(loop);
    }
}

static void run_timers(struct loop *loop) {
    struct timer *timer;
    while ((timer = timers_take_due(&loop->timers, loop->now_ms)) != NULL) {
        struct loop_timer *due = (struct loop_timer *)timer;
        due->run(due);
    }
}

static void on_async(uv_async_t *async) {
    struct loop *loop = async->data;
    refresh(loop);
    run_inbox(loop);
    if (atomic_load(&loop->stopping)) {
        uv_stop(&loop->uv);
    }
}

/* Only ends the wait. */
static void on_timer(uv_timer_t *timer) {
    (void)timer;
}

/* Behind what has arrived: a loop that comes late hears what others have said meanwhile before it
 * finds that they have said nothing for too long. */
static void on_check(uv_check_t *check) {
    struct loop *loop = check->data;
    refresh(loop);
    run_timers(loop);
}

static void on_prepare(uv_prepare_t *prepare) {
    struct loop *loop = prepare->data;
    if (loop->turn_end != NULL) {
        loop->turn_end(loop->turn_end_context);
    }
    int64_t next_ms = timers_next_ms(&loop->timers);
    if (next_ms == INT64_MAX) {
        uv_timer_stop(&loop->timer);
        return;
    }
    int64_t wait_ms = next_ms - clock_monotonic_ms();
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

struct loop *loop_create(struct err_text *text) {
    struct loop *loop = mem_calloc(1, sizeof *loop);
    loop->signal_fd = -1;
    timers_init(&loop->timers);
    refresh(loop);
    int result = uv_loop_init(&loop->uv);
    if (result != 0) {
        err_set(text, ERR_IO, "cannot create an event loop: %s", uv_strerror(result));
        free(loop);
        return NULL;
    }
    result = uv_async_init(&loop->uv, &loop->async, on_async);
    ASSERT(result == 0);
    ASSERT(uv_timer_init(&loop->uv, &loop->timer) == 0);
    ASSERT(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    ASSERT(uv_check_init(&loop->uv, &loop->check) == 0);
    loop->async.data = loop->timer.data = loop->prepare.data = loop->check.data = loop;
    ASSERT(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    ASSERT(uv_check_start(&loop->check, on_check) == 0);
    return loop;
}

static void close_handle(uv_handle_t *handle, void *context) {
    (void)context;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_destroy(struct loop *loop) {
    if (loop == NULL) {
        return;
    }
    if (loop->signal_poll != NULL) {
        loop_poll_destroy(loop->signal_poll);
        close(loop->signal_fd);
    }
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&loop->uv) == 0);
    timers_clear(&loop->timers);
    free(loop);
}

void loop_run(struct loop *loop) {
    refresh(loop);
    while (!atomic_load(&loop->stopping)) {
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    }
    atomic_store(&loop->stopping, false);
}

void loop_stop(struct loop *loop) {
    atomic_store(&loop->stopping, true);
    uv_async_send(&loop->async);
}

void loop_post(struct loop *loop, struct loop_task *task) {
    struct loop_task *head = atomic_load(&loop->inbox);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak(&loop->inbox, &head, task));
    if (head == NULL) {
        uv_async_send(&loop->async);
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
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer) {
    timer_stop(&loop->timers, &timer->timer);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct loop_poll *poll = (struct loop_poll *)handle;
    refresh(handle->loop->data);
    int ready =
        (events & UV_READABLE ? LOOP_READABLE : 0) | (events & UV_WRITABLE ? LOOP_WRITABLE : 0);
    poll->ready(poll->context, status < 0 ? LOOP_READABLE | LOOP_WRITABLE : ready);
}

struct loop_poll *loop_poll_create(struct loop *loop, int fd,
                                   void (*ready)(void *context, int events), void *context) {
    struct loop_poll *poll = mem_calloc(1, sizeof *poll);
    poll->ready = ready;
    poll->context = context;
    loop->uv.data = loop;
    ASSERT(uv_poll_init(&loop->uv, &poll->handle, fd) == 0);
    return poll;
}

void loop_poll_set(struct loop_poll *poll, int events) {
    if (events == 0) {
        uv_poll_stop(&poll->handle);
        return;
    }
    int wanted =
        (events & LOOP_READABLE ? UV_READABLE : 0) | (events & LOOP_WRITABLE ? UV_WRITABLE : 0);
    ASSERT(uv_poll_start(&poll->handle, wanted, on_poll) == 0);
}

static void free_poll(uv_handle_t *handle) {
    free(handle);
}

void loop_poll_destroy(struct loop_poll *poll) {
    uv_poll_stop(&poll->handle);
    uv_close((uv_handle_t *)&poll->handle, free_poll);
}

static void on_signal(void *context, int events) {
    struct loop *loop = context;
    struct signalfd_siginfo info;
    (void)events;
    while (read(loop->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        loop->signal_arrived(loop->signal_context, (int)info.ssi_signo);
    }
}

enum err loop_watch_signals(struct loop *loop, const int *signals, size_t count,
                            void (*arrived)(void *context, int signal), void *context,
                            struct err_text *text) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) {
        sigaddset(&set, signals[i]);
    }
    ASSERT(loop->signal_poll == NULL);
    ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    loop->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signal_fd < 0) {
        return err_set_errno(text, errno, "cannot read signals");
    }
    loop->signal_arrived = arrived;
    loop->signal_context = context;
    loop->signal_poll = loop_poll_create(loop, loop->signal_fd, on_signal, loop);
    loop_poll_set(loop->signal_poll, LOOP_READABLE);
    return ERR_OK;
}
