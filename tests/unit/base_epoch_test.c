/* Epochs: what a reader can see is not freed. The address sanitizer sees a block that was freed too
 * early, the thread sanitizer an access that nothing orders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "base/limits.h"
#include "base/mem.h"

#define CANARY UINT64_C(0xc0ffee1234567890)
#define READERS 8
#define VERSIONS 20000

struct version {
    uint64_t canary, number;
    struct version *part; /* a second block, replaced with the first */
};

struct shared {
    struct epoch *epoch;
    _Atomic(struct version *) published;
    _Atomic bool stop;
    _Atomic unsigned reading;
};

static struct version *make_version(uint64_t number) {
    struct version *version = mem_alloc(sizeof *version);
    struct version *part = mem_alloc(sizeof *part);
    *part = (struct version){CANARY, number, NULL};
    *version = (struct version){CANARY, number, part};
    return version;
}

static void retire(struct epoch *epoch, struct version *version) {
    epoch_retire(epoch, version->part);
    epoch_retire(epoch, version);
}

/* Non-zero: what was read is no whole version. */
static int judge(const struct version *version, uint64_t least) {
    return version->canary != CANARY || version->part->canary != CANARY ||
           version->number != version->part->number || version->number < least;
}

static void *read_versions(void *context) {
    struct shared *shared = context;
    uint64_t last = 0;
    intptr_t wrong = 0;
    atomic_fetch_add(&shared->reading, 1);
    for (unsigned turn = 0; !atomic_load(&shared->stop); turn++) {
        epoch_enter(shared->epoch);
        struct version *version = atomic_load(&shared->published);
        if (turn % 3 == 0) { /* a section inside: its end does not end the outer one */
            epoch_enter(shared->epoch);
            wrong += judge(atomic_load(&shared->published), last);
            epoch_exit(shared->epoch);
        }
        wrong += judge(version, last);
        last = version->number;
        epoch_exit(shared->epoch);
    }
    return (void *)wrong;
}

static void publish(struct shared *shared, uint64_t number) {
    struct version *old = atomic_exchange(&shared->published, make_version(number));
    retire(shared->epoch, old);
    epoch_advance(shared->epoch);
}

static void many_readers_one_writer(void **state) {
    (void)state;
    struct shared shared = {.epoch = epoch_create()};
    pthread_t threads[READERS];
    atomic_store(&shared.published, make_version(0));
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_versions, &shared), 0);
    }
    while (atomic_load(&shared.reading) < READERS) {
    }
    for (uint64_t number = 1; number <= VERSIONS; number++) {
        publish(&shared, number);
    }
    atomic_store(&shared.stop, true);
    for (int i = 0; i < READERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    epoch_advance(shared.epoch); /* all have left: nothing waits any more */
    assert_int_equal(epoch_pending(shared.epoch), 0);
    retire(shared.epoch, atomic_load(&shared.published));
    epoch_destroy(shared.epoch); /* with blocks in its open batch */
}

static void a_slow_reader_delays_freeing(void **state) {
    (void)state;
    struct shared shared = {.epoch = epoch_create()};
    atomic_store(&shared.published, make_version(0));
    publish(&shared, 1);
    assert_int_equal(epoch_pending(shared.epoch), 0); /* nobody reads */
    epoch_enter(shared.epoch);
    struct version *seen = atomic_load(&shared.published);
    for (uint64_t number = 2; number < 50; number++) {
        publish(&shared, number);
    }
    assert_int_equal(seen->number, 1);
    assert_int_equal(judge(seen, 1), 0);
    assert_int_equal(epoch_pending(shared.epoch), 2 * 48);
    epoch_enter(shared.epoch);
    epoch_exit(shared.epoch); /* of the nested section */
    epoch_advance(shared.epoch);
    assert_int_equal(judge(seen, 1), 0);
    assert_int_equal(epoch_pending(shared.epoch), 2 * 48);
    epoch_exit(shared.epoch);
    epoch_advance(shared.epoch);
    assert_int_equal(epoch_pending(shared.epoch), 0);
    retire(shared.epoch, atomic_load(&shared.published));
    epoch_retire(shared.epoch, NULL);
    epoch_destroy(shared.epoch);
}

static void a_reader_keeps_only_what_it_can_see(void **state) {
    (void)state;
    struct shared shared = {.epoch = epoch_create()};
    atomic_store(&shared.published, make_version(0));
    int old = epoch_pin(shared.epoch);
    publish(&shared, 1);
    publish(&shared, 2);
    epoch_enter(shared.epoch);
    publish(&shared, 3);
    assert_int_equal(epoch_pending(shared.epoch), 6);
    epoch_unpin(shared.epoch, old);
    epoch_advance(shared.epoch);
    assert_int_equal(epoch_pending(shared.epoch), 2); /* version 2, which the section may hold */
    epoch_exit(shared.epoch);
    epoch_advance(shared.epoch);
    assert_int_equal(epoch_pending(shared.epoch), 0);
    retire(shared.epoch, atomic_load(&shared.published));
    epoch_destroy(shared.epoch);
}

struct pinned {
    struct epoch *epoch;
    struct version *version;
    int pin;
};

static void *read_pinned(void *context) {
    struct pinned *pinned = context;
    intptr_t wrong = 0;
    for (int i = 0; i < 10000; i++) {
        wrong += judge(pinned->version, 0) || pinned->version->number != 0;
    }
    epoch_unpin(pinned->epoch, pinned->pin);
    return (void *)wrong;
}

static void pins_hold_for_another_thread(void **state) {
    (void)state;
    struct shared shared = {.epoch = epoch_create()};
    atomic_store(&shared.published, make_version(0));
    struct pinned pinned = {shared.epoch, atomic_load(&shared.published), epoch_pin(shared.epoch)};
    assert_true(pinned.pin >= 0);
    pthread_t thread;
    void *wrong;
    assert_int_equal(pthread_create(&thread, NULL, read_pinned, &pinned), 0);
    for (uint64_t number = 1; number <= 1000; number++) {
        publish(&shared, number);
    }
    pthread_join(thread, &wrong);
    assert_null(wrong);
    epoch_advance(shared.epoch);
    assert_int_equal(epoch_pending(shared.epoch), 0);
    int pins[16], count = 0;
    while (count < 16 && (pins[count] = epoch_pin(shared.epoch)) >= 0) {
        count++;
    }
    assert_in_range(count, 1, 15); /* they end, and come back */
    epoch_unpin(shared.epoch, pins[0]);
    assert_int_equal(epoch_pin(shared.epoch), pins[0]);
    for (int i = 0; i < count; i++) {
        epoch_unpin(shared.epoch, pins[i]);
    }
    retire(shared.epoch, atomic_load(&shared.published));
    epoch_destroy(shared.epoch);
}

static void *enter_once(void *context) {
    epoch_enter(context);
    epoch_exit(context);
    return NULL;
}

/* Far more threads than slots, one after the other: an ended thread gives its slot back. */
static void slots_are_used_again(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    for (int i = 0; i < 3 * LIMIT_EPOCH_THREADS; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, enter_once, epoch), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    epoch_destroy(epoch);
}

/* One thread reads in two epochs at once: a slot is of its epoch. */
static void epochs_are_apart(void **state) {
    (void)state;
    struct epoch *a = epoch_create(), *b = epoch_create();
    epoch_enter(a);
    epoch_retire(a, mem_alloc(1));
    epoch_retire(b, mem_alloc(1));
    epoch_advance(a);
    epoch_advance(b);
    assert_int_equal(epoch_pending(a), 1);
    assert_int_equal(epoch_pending(b), 0);
    epoch_exit(a);
    epoch_destroy(a);
    epoch_destroy(b);
    epoch_destroy(NULL);
}

/* Two structures of one epoch: the second one's advance leaves the first one's open batch alone. */
static void a_held_batch_stays_open(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    epoch_retire(epoch, mem_alloc(1));
    epoch_advance(epoch);
    assert_int_equal(epoch_pending(epoch), 0);
    epoch_hold(epoch);
    epoch_hold(epoch);
    char *visible = mem_strdup("visible");
    epoch_retire(epoch, visible);
    epoch_advance(epoch);
    epoch_release(epoch);
    epoch_advance(epoch);
    epoch_enter(epoch);
    assert_string_equal(visible, "visible");
    epoch_release(epoch);
    epoch_advance(epoch);
    assert_string_equal(visible, "visible");
    epoch_exit(epoch);
    epoch_advance(epoch);
    assert_int_equal(epoch_pending(epoch), 0);
    epoch_destroy(epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_readers_one_writer),
        cmocka_unit_test(a_slow_reader_delays_freeing),
        cmocka_unit_test(a_reader_keeps_only_what_it_can_see),
        cmocka_unit_test(pins_hold_for_another_thread),
        cmocka_unit_test(slots_are_used_again),
        cmocka_unit_test(epochs_are_apart),
        cmocka_unit_test(a_held_batch_stays_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
