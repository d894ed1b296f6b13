/* A loop on a thread of its own, and calls into it. */
#ifndef NET_SUPPORT_H
#define NET_SUPPORT_H

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/crypto.h"
#include "net/loop.h"

#define SUPPORT_WAIT_MS 60000

struct support {
    struct loop *loop;
    pthread_t thread;
};

static void *support_main(void *context) {
    loop_run(((struct support *)context)->loop);
    return NULL;
}

static inline void support_start(struct support *support) {
    support->loop = loop_create(NULL);
    assert_non_null(support->loop);
    assert_int_equal(pthread_create(&support->thread, NULL, support_main, support), 0);
}

static inline void support_stop(struct support *support) {
    loop_stop(support->loop);
    pthread_join(support->thread, NULL);
    loop_flush(support->loop);
    loop_destroy(support->loop);
}

struct support_call {
    struct loop_task task;
    bool (*run)(void *context);
    void *context;
    bool result;
    sem_t done;
};

static void support_run(struct loop_task *task) {
    struct support_call *call = (struct support_call *)task;
    call->result = call->run(call->context);
    sem_post(&call->done);
}

/* Runs it on the loop's thread and waits. */
static inline bool support_call(struct support *support, bool (*run)(void *context),
                                void *context) {
    struct support_call call = {.task = {.run = support_run}, .run = run, .context = context};
    sem_init(&call.done, 0, 0);
    loop_post(support->loop, &call.task);
    while (sem_wait(&call.done) != 0) {
    }
    sem_destroy(&call.done);
    return call.result;
}

/* Until it holds. */
static inline void support_wait(struct support *support, bool (*holds)(void *context),
                                void *context) {
    int64_t end_ms = clock_monotonic_ms() + SUPPORT_WAIT_MS;
    while (!support_call(support, holds, context)) {
        assert_true(clock_monotonic_ms() < end_ms);
        usleep(1000);
    }
}

/* A loopback address with a port that was free a moment ago, and is none of those that the system
 * gives to clients. */
static inline struct addr support_addr(const char *ip, int type) {
    struct addr addr;
    for (;;) {
        uint16_t random;
        crypto_random(&random, sizeof random);
        assert_true(addr_parse(ip, (uint16_t)(10000 + random % 22000), &addr));
        int fd = addr_bind(&addr, type, false, NULL);
        if (fd >= 0) {
            close(fd);
            return addr;
        }
        assert_int_equal(errno, EADDRINUSE);
    }
}

#endif
