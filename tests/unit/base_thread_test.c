/* Who is ahead of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/thread.h"

struct worker {
    struct thread thread;
    int nice;
};

static int own_nice(void) {
    return getpriority(PRIO_PROCESS, 0);
}

static void *run(void *context) {
    struct worker *worker = context;
    worker->nice = own_nice();
    thread_end(&worker->thread);
    return NULL;
}

static void *run_briefly(void *context) {
    *(int *)context = own_nice();
    return NULL;
}

static void a_thread_is_ahead_but_not_those_it_starts(void **state) {
    (void)state;
    struct worker worker;
    int ordinary = own_nice();
    assert_false(thread_lower());
    thread_raise();
    int ahead = own_nice();
    if (ahead == ordinary) {
        skip(); /* the system does not allow it */
    }
    assert_true(ahead < ordinary);
    thread_raise();
    assert_int_equal(own_nice(), ahead);
    thread_start(&worker.thread, run, &worker);
    pthread_mutex_lock(&worker.thread.mutex);
    assert_true(thread_join_within(&worker.thread, 60000));
    assert_int_equal(worker.nice, ordinary);
    assert_int_equal(own_nice(), ahead);
    pthread_t brief;
    int nice_of_brief = ahead;
    thread_start_brief(&brief, run_briefly, &nice_of_brief);
    pthread_join(brief, NULL);
    assert_int_equal(nice_of_brief, ordinary);
    assert_true(thread_lower());
    assert_int_equal(own_nice(), ordinary);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_is_ahead_but_not_those_it_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
