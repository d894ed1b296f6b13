#include "base/epoch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

/* A slot holds 0 when its thread is outside, else the epoch that it entered in. */
struct slot {
    _Alignas(64) _Atomic uint64_t entered;
    unsigned depth; /* nested sections; only its thread touches this */
};

#define PINS 4
#define SLOTS (LIMIT_EPOCH_THREADS + PINS)

struct batch {
    struct batch *next; /* younger */
    uint64_t epoch;     /* readers that entered at or before it may see the blocks */
    size_t count;
    size_t capacity;
    void **blocks;
};

struct epoch {
    _Atomic uint64_t now; /* starts at 1 */
    struct batch *oldest, *open;
    size_t pending;
    unsigned holds;           /* by structures with an unpublished change */
    struct slot slots[SLOTS]; /* a thread each, then the pins */
};

/* Thread numbers are of the process, because threads are; everything else is in the object. */
static pthread_mutex_t numbers_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool numbers_used[LIMIT_EPOCH_THREADS];
static pthread_key_t number_key;
static pthread_once_t number_once = PTHREAD_ONCE_INIT;
static _Thread_local int thread_number = -1;

static void release_number(void *value) {
    pthread_mutex_lock(&numbers_mutex);
    numbers_used[(intptr_t)value - 1] = false;
    pthread_mutex_unlock(&numbers_mutex);
}

static void make_key(void) {
    ASSERT(pthread_key_create(&number_key, release_number) == 0);
}

static int claim_number(void) {
    pthread_once(&number_once, make_key);
    pthread_mutex_lock(&numbers_mutex);
    int number = 0;
    while (number < LIMIT_EPOCH_THREADS && numbers_used[number]) {
        number++;
    }
    ASSERT(number < LIMIT_EPOCH_THREADS);
    numbers_used[number] = true;
    pthread_mutex_unlock(&numbers_mutex);
    ASSERT(pthread_setspecific(number_key, (void *)(intptr_t)(number + 1)) == 0);
    thread_number = number;
    return number;
}

static struct slot *own_slot(struct epoch *epoch) {
    int number = thread_number >= 0 ? thread_number : claim_number();
    return &epoch->slots[number];
}

static struct batch *open_batch(uint64_t epoch) {
    struct batch *batch = mem_calloc(1, sizeof *batch);
    batch->epoch = epoch;
    return batch;
}

struct epoch *epoch_create(void) {
    void *memory = NULL;
    ASSERT(posix_memalign(&memory, 64, sizeof(struct epoch)) == 0);
    struct epoch *epoch = memory;
    for (int i = 0; i < SLOTS; i++) {
        atomic_init(&epoch->slots[i].entered, 0);
        epoch->slots[i].depth = 0;
    }
    atomic_init(&epoch->now, 1);
    epoch->pending = 0;
    epoch->holds = 0;
    epoch->oldest = epoch->open = open_batch(1);
    return epoch;
}

static void free_oldest(struct epoch *epoch) {
    struct batch *batch = epoch->oldest;
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->blocks[i]);
    }
    epoch->pending -= batch->count;
    epoch->oldest = batch->next;
    free(batch->blocks);
    free(batch);
}

void epoch_destroy(struct epoch *epoch) {
    if (epoch == NULL) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        ASSERT(atomic_load(&epoch->slots[i].entered) == 0);
    }
    while (epoch->oldest != NULL) {
        free_oldest(epoch);
    }
    free(epoch);
}

void epoch_enter(struct epoch *epoch) {
    struct slot *slot = own_slot(epoch);
    if (slot->depth++ > 0) {
        return;
    }
    /* Sequentially consistent, so either the writer's scan sees this slot or the loads that follow
     * see what the writer published before it advanced past the stored number. */
    atomic_store(&slot->entered, atomic_load(&epoch->now));
}

void epoch_exit(struct epoch *epoch) {
    struct slot *slot = own_slot(epoch);
    ASSERT(slot->depth > 0);
    if (--slot->depth == 0) {
        atomic_store_explicit(&slot->entered, 0, memory_order_release);
    }
}

int epoch_pin(struct epoch *epoch) {
    for (int pin = 0; pin < PINS; pin++) {
        struct slot *slot = &epoch->slots[LIMIT_EPOCH_THREADS + pin];
        if (atomic_load(&slot->entered) == 0) {
            atomic_store(&slot->entered, atomic_load(&epoch->now));
            return pin;
        }
    }
    return -1;
}

void epoch_unpin(struct epoch *epoch, int pin) {
    ASSERT(pin >= 0 && pin < PINS);
    atomic_store_explicit(&epoch->slots[LIMIT_EPOCH_THREADS + pin].entered, 0,
                          memory_order_release);
}

void epoch_retire(struct epoch *epoch, void *block) {
    if (block == NULL) {
        return;
    }
    struct batch *batch = epoch->open;
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 32 : batch->capacity * 2;
        batch->blocks = mem_realloc(batch->blocks, batch->capacity * sizeof *batch->blocks);
    }
    batch->blocks[batch->count++] = block;
    epoch->pending++;
}

void epoch_hold(struct epoch *epoch) {
    epoch->holds++;
}

void epoch_release(struct epoch *epoch) {
    ASSERT(epoch->holds > 0);
    epoch->holds--;
}

static uint64_t oldest_reader(struct epoch *epoch) {
    uint64_t oldest = UINT64_MAX;
    for (int i = 0; i < SLOTS; i++) {
        uint64_t entered = atomic_load(&epoch->slots[i].entered);
        if (entered != 0 && entered < oldest) {
            oldest = entered;
        }
    }
    return oldest;
}

void epoch_advance(struct epoch *epoch) {
    if (epoch->open->count > 0 && epoch->holds == 0) {
        uint64_t next = atomic_load(&epoch->now) + 1;
        atomic_store(&epoch->now, next);
        epoch->open->next = open_batch(next);
        epoch->open = epoch->open->next;
    }
    /* A reader stores the number it loaded; between load and store the writer may have moved on, so
     * a slot can show a number that is too old, never one that is too young. */
    uint64_t oldest = oldest_reader(epoch);
    while (epoch->oldest != epoch->open && epoch->oldest->epoch < oldest) {
        free_oldest(epoch);
    }
}

size_t epoch_pending(const struct epoch *epoch) {
    return epoch->pending;
}
