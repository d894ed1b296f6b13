/* Blocking queries on the core's thread: waits join groups, marks make groups dirty, workers
 * compute each dirty group's answer once, and whoever it is new for gets it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "http/server.h"

/* ---- the workers: a few threads, so that a costly question does not delay all others ---- */

struct job {
    struct http_work work; /* first */
    struct loop_task task;
    struct http_server *server;
    struct watch_group *group; /* held while the job is under way */
    struct http_answer *answer;
};

struct http_workers {
    struct http_server *server;
    pthread_t threads[LIMIT_HTTP_WORKERS];
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct http_work *first, **last;
    bool stopping;
    uint64_t swept_at_ms; /* with the mutex; when a worker last claimed the look at connections */
};

static void job_done(struct loop_task *task);

/* Claims the look for connections without progress. With the mutex. */
static bool sweep_is_due(struct http_workers *workers) {
    uint64_t now_ms = metrics_clock_ns() / 1000000;
    if (workers->stopping || now_ms < workers->swept_at_ms + LIMIT_HTTP_SWEEP_MS) {
        return false;
    }
    workers->swept_at_ms = now_ms;
    return true;
}

static void wait_for_job(struct http_workers *workers) {
    struct timespec until = thread_deadline(LIMIT_HTTP_SWEEP_MS);
    pthread_cond_timedwait(&workers->wake, &workers->mutex, &until);
}

/* A worker looks for connections without progress when it has nothing to do or has done one thing,
 * one worker at a time. */
static struct http_work *take_work(struct http_workers *workers) {
    pthread_mutex_lock(&workers->mutex);
    for (;;) {
        if (sweep_is_due(workers)) {
            pthread_mutex_unlock(&workers->mutex);
            http_deadlines_sweep(workers->server->deadlines);
            pthread_mutex_lock(&workers->mutex);
        } else if (workers->first == NULL && !workers->stopping) {
            wait_for_job(workers);
        } else {
            break;
        }
    }
    struct http_work *work = workers->first;
    if (work != NULL) {
        workers->first = work->next;
        if (workers->first == NULL) {
            workers->last = &workers->first;
        }
    }
    pthread_mutex_unlock(&workers->mutex);
    return work;
}

static void evaluate(struct http_work *work) {
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->answer = http_evaluate(job->server, watch_group_query(job->group));
    if (job->answer != NULL) {
        http_answer_hash(job->answer);
    }
    job->task.run = job_done;
    loop_post(job->server->core, &job->task);
}

static void *work(void *context) {
    struct http_workers *workers = context;
    struct http_work *work;
    while ((work = take_work(workers)) != NULL) {
        work->run(work);
    }
    return NULL;
}

void http_server_work(struct http_server *server, struct http_work *work) {
    struct http_workers *workers = server->workers;
    work->next = NULL;
    pthread_mutex_lock(&workers->mutex);
    *workers->last = work;
    workers->last = &work->next;
    pthread_cond_signal(&workers->wake);
    pthread_mutex_unlock(&workers->mutex);
}

struct http_workers *http_workers_start(struct http_server *server) {
    struct http_workers *workers = mem_calloc(1, sizeof *workers);
    workers->server = server;
    workers->last = &workers->first;
    pthread_mutex_init(&workers->mutex, NULL);
    thread_init_condition(&workers->wake);
    for (unsigned i = 0; i < LIMIT_HTTP_WORKERS; i++) {
        ASSERT(pthread_create(&workers->threads[i], NULL, work, workers) == 0);
    }
    return workers;
}

void http_workers_stop(struct http_workers *workers) {
    if (workers == NULL) {
        return;
    }
    pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->wake);
    pthread_mutex_unlock(&workers->mutex);
    for (unsigned i = 0; i < LIMIT_HTTP_WORKERS; i++) {
        pthread_join(workers->threads[i], NULL);
    }
    pthread_cond_destroy(&workers->wake);
    pthread_mutex_destroy(&workers->mutex);
    free(workers);
}

void http_server_wake(struct http_server *server) {
    struct watch_group *group;
    while ((group = watches_take_dirty(server->watches)) != NULL) {
        struct job *job = mem_calloc(1, sizeof *job);
        watch_group_hold(group);
        job->server = server;
        job->group = group;
        job->work.run = evaluate;
        server->jobs++;
        http_server_work(server, &job->work);
    }
}

/* ---- waits ---- */

static struct http_exchange *exchange_of(struct http_wait *wait) {
    return CONTAINER_OF(wait, struct http_exchange, wait);
}

void http_exchange_link(struct http_exchange **list, struct http_exchange *exchange) {
    exchange->parked_previous = NULL;
    exchange->parked_next = *list;
    if (*list != NULL) {
        (*list)->parked_previous = exchange;
    }
    *list = exchange;
}

void http_exchange_unlink(struct http_exchange **list, struct http_exchange *exchange) {
    if (exchange->parked_previous != NULL) {
        exchange->parked_previous->parked_next = exchange->parked_next;
    } else {
        *list = exchange->parked_next;
    }
    if (exchange->parked_next != NULL) {
        exchange->parked_next->parked_previous = exchange->parked_previous;
    }
}

static void end_wait(struct http_exchange *exchange, enum http_state state) {
    struct http_server *server = exchange->server;
    exchange->waits = false;
    http_timings_blocking(server->timings, --server->blocking);
    watches_leave(server->watches, &exchange->wait.waiter);
    loop_timer_stop(server->core, &exchange->wait.timer);
    if (exchange->fd >= 0) {
        epoll_ctl(server->hang_up_epoll, EPOLL_CTL_DEL, exchange->fd, NULL);
    }
    http_exchange_unlink(&server->parked_list, exchange);
    http_exchange_resume(exchange, state);
}

static void job_done(struct loop_task *task) {
    struct job *job = CONTAINER_OF(task, struct job, task);
    struct http_server *server = job->server;
    struct http_answer *answer = job->answer;
    struct waiter *waiter = watch_group_waiters(job->group);
    while (waiter != NULL && answer != NULL) {
        struct waiter *next = waiter->next;
        struct http_wait *wait = (struct http_wait *)waiter;
        if (!answer->may_wait || (answer->index > wait->index && answer->hash != wait->seen_hash)) {
            struct http_exchange *exchange = exchange_of(wait);
            exchange->answer = http_answer_share(answer);
            end_wait(exchange, EXCHANGE_ANSWERED);
        }
        waiter = next;
    }
    http_answer_drop(answer);
    watch_group_release(server->watches, job->group);
    free(job);
    server->jobs--;
    http_server_wake(server); /* marked anew while it was held */
}

static void wait_over(struct loop_timer *timer) {
    struct http_wait *wait = CONTAINER_OF(timer, struct http_wait, timer);
    end_wait(exchange_of(wait), EXCHANGE_TIMED_OUT);
}

/* The wait with its jitter (contract 4.2). */
static int64_t deadline(struct http_server *server, const struct http_wait *wait) {
    int64_t wait_ms = wait->wait_ms;
    int64_t jitter = wait->exact ? 0 : wait_ms / LIMIT_QUERY_JITTER_FRACTION;
    return loop_now_ms(server->core) + wait_ms +
           (jitter > 0 ? (int64_t)rand_below(&server->rand, (uint64_t)jitter) : 0);
}

/* What moves whenever the answer might. */
static uint64_t present_index(struct http_server *server, const struct http_wait *wait) {
    const struct backend *backend = server->backend;
    epoch_enter(backend->epoch);
    uint64_t index = wait->kind == WATCH_LOCAL_SERVICE || wait->kind == WATCH_EVENTS
                         ? http_local_version(backend, wait->kind)
                         : http_watch_index(catalog_view(backend->catalog), wait->kind, wait->name);
    epoch_exit(backend->epoch);
    return index;
}

static void wait_arrived(struct loop_task *task) {
    struct http_exchange *exchange = CONTAINER_OF(task, struct http_exchange, task);
    struct http_server *server = exchange->server;
    struct http_wait *wait = &exchange->wait;
    exchange->waits = true;
    http_timings_blocking(server->timings, ++server->blocking);
    http_exchange_link(&server->parked_list, exchange);
    struct watch_group *group =
        watches_join(server->watches, wait->kind, wait->name, wait->question, &wait->waiter);
    wait->timer.run = wait_over;
    loop_timer_start(server->core, &wait->timer, deadline(server, wait));
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = exchange};
    if (exchange->fd >= 0) {
        epoll_ctl(server->hang_up_epoll, EPOLL_CTL_ADD, exchange->fd, &event);
    }
    /* The core alone moves the index on, so this sees every change that the HTTP thread did not. */
    bool changed = present_index(server, wait) != wait->seen_index;
    wait->name = wait->question = NULL;
    arena_clear(&exchange->arena);
    if (atomic_load(&server->stopping) || exchange->gone) {
        end_wait(exchange, EXCHANGE_ABORTED);
    } else if (changed) {
        watch_group_mark(server->watches, group);
        http_server_wake(server);
    }
}

void http_wait_post(struct http_exchange *exchange) {
    exchange->task.run = wait_arrived;
    loop_post(exchange->server->core, &exchange->task);
}

void http_wait_abort(struct http_exchange *exchange) {
    end_wait(exchange, EXCHANGE_ABORTED);
}

void http_waits_abort(struct http_server *server) {
    while (server->parked_list != NULL) {
        end_wait(server->parked_list, EXCHANGE_ABORTED);
    }
}

/* ---- hang-ups ---- */

static void on_hang_up(void *context, int events) {
    struct http_server *server = context;
    struct epoll_event ready[64];
    (void)events;
    int count;
    while ((count = epoll_wait(server->hang_up_epoll, ready, 64, 0)) > 0) {
        for (int i = 0; i < count; i++) {
            struct http_exchange *exchange = ready[i].data.ptr;
            if (exchange->stream != NULL) {
                http_stream_hung_up(exchange);
            } else if (exchange->forwarded) {
                http_carry_hung_up(exchange);
            } else {
                end_wait(exchange, EXCHANGE_ABORTED);
            }
        }
    }
}

bool http_hang_ups_open(struct http_server *server, struct err_text *text) {
    server->hang_up_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->hang_up_epoll < 0) {
        err_set_errno(text, errno, "cannot watch for closed connections");
        return false;
    }
    server->hang_up_poll =
        loop_poll_create(server->core, server->hang_up_epoll, on_hang_up, server);
    loop_poll_set(server->hang_up_poll, LOOP_READABLE);
    return true;
}

void http_hang_ups_close(struct http_server *server) {
    if (server->hang_up_poll != NULL) {
        loop_poll_destroy(server->hang_up_poll);
        close(server->hang_up_epoll);
    }
}
