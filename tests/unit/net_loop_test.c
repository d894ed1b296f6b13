/* The event loop. Each test ends when what it waits for has happened; a loop that forgets something
 * hangs, and the test's time limit tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"

#define POSTERS 6
#define POSTS 3000

/* ---- tasks ---- */

struct crowd {
    struct loop *loop;
    pthread_t loop_thread;
    unsigned next[POSTERS]; /* of each thread: the number that must come now */
    unsigned done, wrong, turns, run_in_turn;
};

struct post {
    struct loop_task task;
    struct crowd *crowd;
    unsigned poster, number;
};

struct poster {
    struct crowd *crowd;
    unsigned number;
    struct post posts[POSTS];
};

static void run_post(struct loop_task *task) {
    struct post *post = (struct post *)task;
    struct crowd *crowd = post->crowd;
    crowd->wrong += post->number != crowd->next[post->poster]++;
    crowd->wrong += !pthread_equal(pthread_self(), crowd->loop_thread);
    crowd->run_in_turn++;
    memset(task, 0x5a, sizeof *task); /* it is ours again */
    if (++crowd->done == POSTERS * POSTS) {
        loop_stop(crowd->loop);
    }
}

static void *post_all(void *context) {
    struct poster *poster = context;
    for (unsigned i = 0; i < POSTS; i++) {
        struct post *post = &poster->posts[i];
        *post = (struct post){{.run = run_post}, poster->crowd, poster->number, i};
        loop_post(poster->crowd->loop, &post->task);
    }
    return NULL;
}

static void count_turn(void *context) {
    struct crowd *crowd = context;
    crowd->turns++;
    crowd->run_in_turn = 0;
}

static void posts_of_a_thread_keep_their_order(void **state) {
    (void)state;
    struct crowd crowd = {.loop = loop_create(NULL), .loop_thread = pthread_self()};
    struct poster *posters = calloc(POSTERS, sizeof *posters);
    pthread_t threads[POSTERS];
    loop_set_turn_end(crowd.loop, count_turn, &crowd);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].crowd = &crowd;
        posters[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    loop_run(crowd.loop);
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(crowd.done, POSTERS * POSTS);
    assert_int_equal(crowd.wrong, 0);
    assert_true(crowd.turns > 0);
    loop_destroy(crowd.loop);
    free(posters);
}

struct chain {
    struct loop_task task;
    struct loop *loop;
    int left, ends_seen, ends;
    bool stop;
};

static void run_chain(struct loop_task *task) {
    struct chain *chain = (struct chain *)task;
    chain->ends_seen = chain->ends;
    if (--chain->left > 0) {
        loop_post(chain->loop, &chain->task);
    } else if (chain->stop) {
        loop_stop(chain->loop);
    }
}

static void count_end(void *context) {
    ((struct chain *)context)->ends++;
}

/* What a task posts runs in a later turn, and between them the turn ends: batches close. */
static void a_turn_ends_before_the_next(void **state) {
    (void)state;
    struct chain chain = {.task.run = run_chain, .left = 10, .stop = true};
    chain.loop = loop_create(NULL);
    loop_set_turn_end(chain.loop, count_end, &chain);
    loop_post(chain.loop, &chain.task);
    loop_run(chain.loop);
    assert_int_equal(chain.left, 0);
    assert_true(chain.ends_seen >= 10);
    loop_destroy(chain.loop);
}

static void flush_runs_what_is_left(void **state) {
    (void)state;
    struct chain chain = {.task.run = run_chain, .left = 1, .stop = true};
    chain.loop = loop_create(NULL);
    loop_post(chain.loop, &chain.task);
    loop_run(chain.loop);
    chain.left = 5;
    chain.stop = false;
    loop_post(chain.loop, &chain.task);
    assert_int_equal(chain.left, 5);
    loop_flush(chain.loop); /* and what that posts */
    assert_int_equal(chain.left, 0);
    loop_post(chain.loop, &chain.task); /* not run any more */
    loop_destroy(chain.loop);
    assert_int_equal(chain.left, 0);
    loop_destroy(NULL);
}

static void *stop_it(void *context) {
    loop_stop(context);
    return NULL;
}

static void stop_from_another_thread(void **state) {
    (void)state;
    struct loop *loop = loop_create(NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    loop_destroy(loop);
}

/* ---- timers ---- */

struct clockwork {
    struct loop *loop;
    struct loop_timer timers[20];
    int64_t last_ms;
    unsigned left, early, disordered, moved;
};

static struct clockwork *clockwork;

static void tick(struct loop_timer *timer) {
    int64_t now_ms = loop_now_ms(clockwork->loop);
    clockwork->early += now_ms < timer->timer.deadline_ms;
    clockwork->early += clock_monotonic_ms() < timer->timer.deadline_ms;
    clockwork->disordered += timer->timer.deadline_ms < clockwork->last_ms;
    clockwork->last_ms = timer->timer.deadline_ms;
    if (timer == &clockwork->timers[0] && clockwork->moved++ < 3) {
        loop_timer_start(clockwork->loop, timer, now_ms + 2); /* from within itself */
    } else if (--clockwork->left == 0) {
        loop_stop(clockwork->loop);
    }
}

static void timers_run_in_order_and_never_early(void **state) {
    (void)state;
    struct clockwork all = {.loop = loop_create(NULL), .left = 10};
    clockwork = &all;
    int64_t now_ms = clock_monotonic_ms();
    for (int i = 0; i < 20; i++) {
        all.timers[i].run = tick;
        loop_timer_start(all.loop, &all.timers[i], now_ms + (i * 7) % 20);
    }
    for (int i = 10; i < 20; i++) {
        loop_timer_stop(all.loop, &all.timers[i]);
    }
    loop_timer_start(all.loop, &all.timers[9], now_ms + 25); /* moved */
    loop_run(all.loop);
    assert_int_equal(all.left, 0);
    assert_int_equal(all.early, 0);
    assert_int_equal(all.disordered, 0);
    assert_int_equal(all.moved, 4);
    loop_destroy(all.loop);
}

struct nudge {
    struct loop_task task;
    struct loop *loop;
    struct loop_timer timer;
    int64_t wanted_ms;
};

static void nudge_fires(struct loop_timer *timer) {
    struct nudge *nudge = (struct nudge *)((char *)timer - offsetof(struct nudge, timer));
    assert_true(loop_now_ms(nudge->loop) >= nudge->wanted_ms);
    loop_stop(nudge->loop);
}

static void nudge_start(struct loop_task *task) {
    struct nudge *nudge = (struct nudge *)task;
    nudge->wanted_ms = loop_now_ms(nudge->loop) + 3;
    loop_timer_start(nudge->loop, &nudge->timer, nudge->wanted_ms);
}

static void *post_nudge(void *context) {
    struct nudge *nudge = context;
    loop_post(nudge->loop, &nudge->task);
    return NULL;
}

/* A loop that waits without any timer takes one that a task starts. */
static void a_timer_started_by_a_task(void **state) {
    (void)state;
    struct nudge nudge = {.task.run = nudge_start, .timer.run = nudge_fires};
    nudge.loop = loop_create(NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_nudge, &nudge), 0);
    loop_run(nudge.loop);
    pthread_join(thread, NULL);
    loop_destroy(nudge.loop);
}

/* ---- descriptors ---- */

struct talk {
    struct loop *loop;
    struct loop_poll *poll;
    int fd;
    char got[64];
    size_t size;
    unsigned writable, hang_ups;
};

static void on_ready(void *context, int events) {
    struct talk *talk = context;
    if (talk->writable == 0) { /* first only LOOP_WRITABLE is watched */
        assert_int_equal(events, LOOP_WRITABLE);
        talk->writable++;
        loop_poll_set(talk->poll, LOOP_READABLE);
        return;
    }
    assert_true(events & LOOP_READABLE);
    ssize_t n = read(talk->fd, talk->got + talk->size, 1);
    if (n == 1) {
        talk->size++;
        return;
    }
    assert_int_equal(n, 0);
    talk->hang_ups++;
    loop_poll_destroy(talk->poll); /* allowed here */
    loop_stop(talk->loop);
}

static void *say(void *context) {
    int fd = *(int *)context;
    for (const char *at = "hello"; *at != '\0'; at++) {
        assert_int_equal(write(fd, at, 1), 1);
    }
    close(fd);
    return NULL;
}

static void a_descriptor_is_watched(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct talk talk = {.loop = loop_create(NULL), .fd = pair[0]};
    talk.poll = loop_poll_create(talk.loop, pair[0], on_ready, &talk);
    loop_poll_set(talk.poll, LOOP_READABLE);
    loop_poll_set(talk.poll, 0); /* rests */
    loop_poll_set(talk.poll, LOOP_WRITABLE);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, say, &pair[1]), 0);
    loop_run(talk.loop);
    pthread_join(thread, NULL);
    assert_int_equal(talk.size, 5);
    assert_memory_equal(talk.got, "hello", 5);
    assert_int_equal(talk.hang_ups, 1);
    loop_destroy(talk.loop);
    close(pair[0]);
}

struct signals {
    struct loop *loop;
    int got[2];
    int count;
};

static void on_signal(void *context, int signal) {
    struct signals *signals = context;
    signals->got[signals->count++] = signal;
    if (signals->count == 2) {
        loop_stop(signals->loop);
    }
}

static void signals_arrive_on_the_loop(void **state) {
    (void)state;
    static const int watched[] = {SIGUSR1, SIGUSR2};
    struct signals signals = {.loop = loop_create(NULL)};
    assert_int_equal(loop_watch_signals(signals.loop, watched, 2, on_signal, &signals, NULL),
                     ERR_OK);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    loop_run(signals.loop);
    assert_int_equal(signals.got[0] + signals.got[1], SIGUSR1 + SIGUSR2);
    loop_destroy(signals.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_of_a_thread_keep_their_order),
        cmocka_unit_test(a_turn_ends_before_the_next),
        cmocka_unit_test(flush_runs_what_is_left),
        cmocka_unit_test(stop_from_another_thread),
        cmocka_unit_test(timers_run_in_order_and_never_early),
        cmocka_unit_test(a_timer_started_by_a_task),
        cmocka_unit_test(a_descriptor_is_watched),
        cmocka_unit_test(signals_arrive_on_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
