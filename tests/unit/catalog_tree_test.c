/* The radix tree against a model: a sorted array of keys. Values are numbers as pointers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"
#include "catalog/tree.h"

struct pair {
    uint8_t *key;
    size_t size;
    uintptr_t value;
};

struct model {
    struct pair *pairs; /* sorted bytewise */
    size_t count, capacity;
};

static int compare(const struct pair *pair, const uint8_t *key, size_t size) {
    size_t common = pair->size < size ? pair->size : size;
    int order = common > 0 ? memcmp(pair->key, key, common) : 0;
    return order != 0 ? order : pair->size < size ? -1 : pair->size > size;
}

/* Place of the first key that is not smaller. */
static size_t find(const struct model *model, const uint8_t *key, size_t size) {
    size_t low = 0, high = model->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&model->pairs[middle], key, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool model_has(const struct model *model, size_t at, const uint8_t *key, size_t size) {
    return at < model->count && compare(&model->pairs[at], key, size) == 0;
}

static uintptr_t model_set(struct model *model, const uint8_t *key, size_t size, uintptr_t value) {
    size_t at = find(model, key, size);
    if (model_has(model, at, key, size)) {
        uintptr_t old = model->pairs[at].value;
        model->pairs[at].value = value;
        return old;
    }
    if (model->count == model->capacity) {
        model->capacity = model->capacity * 2 + 64;
        model->pairs = mem_realloc(model->pairs, model->capacity * sizeof *model->pairs);
    }
    memmove(model->pairs + at + 1, model->pairs + at, (model->count++ - at) * sizeof(struct pair));
    model->pairs[at] = (struct pair){mem_memdup(key, size), size, value};
    return 0;
}

static uintptr_t model_remove(struct model *model, const uint8_t *key, size_t size) {
    size_t at = find(model, key, size);
    if (!model_has(model, at, key, size)) {
        return 0;
    }
    uintptr_t old = model->pairs[at].value;
    free(model->pairs[at].key);
    memmove(model->pairs + at, model->pairs + at + 1, (--model->count - at) * sizeof(struct pair));
    return old;
}

static struct model model_copy(const struct model *model) {
    struct model copy = {mem_alloc(model->count * sizeof(struct pair)), model->count, model->count};
    for (size_t i = 0; i < model->count; i++) {
        copy.pairs[i] = model->pairs[i];
        copy.pairs[i].key = mem_memdup(model->pairs[i].key, model->pairs[i].size);
    }
    return copy;
}

static void model_clear(struct model *model) {
    for (size_t i = 0; i < model->count; i++) {
        free(model->pairs[i].key);
    }
    free(model->pairs);
    *model = (struct model){0};
}

struct walk {
    const struct model *model;
    size_t at, stop_after, seen;
    bool wrong;
};

static bool visit(void *value, void *context) {
    struct walk *walk = context;
    walk->wrong = walk->wrong || walk->at >= walk->model->count ||
                  walk->model->pairs[walk->at].value != (uintptr_t)value;
    walk->at++;
    return ++walk->seen != walk->stop_after;
}

static void expect_walk(const struct tree *tree, const struct model *model, const uint8_t *prefix,
                        size_t size) {
    struct walk walk = {.model = model, .at = find(model, prefix, size)};
    size_t first = walk.at, end = first;
    while (end < model->count && model->pairs[end].size >= size &&
           (size == 0 || memcmp(model->pairs[end].key, prefix, size) == 0)) {
        end++;
    }
    assert_true(tree_walk(tree, prefix, size, visit, &walk));
    assert_false(walk.wrong);
    assert_int_equal(walk.at, end);
    if (end - first > 1) { /* one that is stopped */
        walk = (struct walk){.model = model, .at = first, .stop_after = (end - first) / 2};
        assert_false(tree_walk(tree, prefix, size, visit, &walk));
        assert_int_equal(walk.at, first + (end - first) / 2);
        assert_false(walk.wrong);
    }
}

static void expect_all(const struct tree *tree, const struct model *model) {
    assert_int_equal(tree->count, model->count);
    expect_walk(tree, model, NULL, 0);
    for (size_t i = 0; i < model->count; i++) {
        assert_int_equal((uintptr_t)tree_get(tree, model->pairs[i].key, model->pairs[i].size),
                         model->pairs[i].value);
    }
}

/* Few letters and few lengths, so that keys are prefixes of each other and meet again. */
static size_t random_key(struct rand *rand, uint8_t *key) {
    static const uint8_t letters[] = {0, 'a', 'b', 0xff};
    size_t size = rand_below(rand, rand_below(rand, 8) == 0 ? 300 : 7);
    bool wide = rand_below(rand, 4) == 0;
    for (size_t i = 0; i < size; i++) {
        key[i] = wide && i < 2 ? (uint8_t)rand_next(rand) : letters[rand_below(rand, 4)];
        key[i] = i >= 7 ? 'x' : key[i];
    }
    return size;
}

#define KEPT 6

static void as_the_model(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct tree_batch batch = {.epoch = epoch, .stamp = 1};
    struct tree tree = {0}, kept[KEPT] = {{0}};
    struct model model = {0}, kept_models[KEPT] = {{0}};
    int pin = -1;
    struct rand rand;
    rand_init(&rand, 5);
    for (int step = 0; step < 20000; step++) {
        uint8_t key[300];
        size_t size = random_key(&rand, key);
        bool growing = step % 6000 < 4000;
        if (rand_below(&rand, 10) < (growing ? 6 : 2)) {
            uintptr_t value = (uintptr_t)step + 1;
            assert_int_equal((uintptr_t)tree_set(&tree, &batch, key, size, (void *)value),
                             model_set(&model, key, size, value));
        } else {
            assert_int_equal((uintptr_t)tree_remove(&tree, &batch, key, size),
                             model_remove(&model, key, size));
        }
        size = random_key(&rand, key);
        size_t at = find(&model, key, size);
        assert_int_equal((uintptr_t)tree_get(&tree, key, size),
                         model_has(&model, at, key, size) ? model.pairs[at].value : 0);
        if (step % 7 == 0) {
            expect_walk(&tree, &model, key, size > 3 ? 3 : size);
        }
        if (rand_below(&rand, 40) == 0) { /* publish */
            batch.stamp++;
            epoch_advance(epoch);
        }
        if (step % 1000 == 0) { /* keep this version while the next ones are built */
            size_t place = (size_t)(step / 1000) % KEPT;
            if (pin < 0) {
                pin = epoch_pin(epoch);
            }
            batch.stamp++;
            epoch_advance(epoch);
            model_clear(&kept_models[place]);
            kept_models[place] = model_copy(&model);
            kept[place] = tree;
            for (size_t i = 0; i < KEPT; i++) {
                expect_all(&kept[i], &kept_models[i]);
            }
            if (place == KEPT - 1) {
                epoch_unpin(epoch, pin);
                pin = -1;
                memset(kept, 0, sizeof kept);
                for (size_t i = 0; i < KEPT; i++) {
                    model_clear(&kept_models[i]);
                }
            }
        }
    }
    expect_all(&tree, &model);
    while (model.count > 0) { /* down to nothing */
        struct pair *pair = &model.pairs[rand_below(&rand, model.count)];
        assert_int_equal((uintptr_t)tree_remove(&tree, &batch, pair->key, pair->size), pair->value);
        model_remove(&model, pair->key, pair->size);
    }
    assert_null(tree.root);
    assert_int_equal(tree.count, 0);
    model_clear(&model);
    for (size_t i = 0; i < KEPT; i++) {
        model_clear(&kept_models[i]);
    }
    if (pin >= 0) {
        epoch_unpin(epoch, pin);
    }
    epoch_destroy(epoch);
}

/* Each byte of a key of the greatest length is a key of its own. */
static void deep_keys(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct tree_batch batch = {.epoch = epoch, .stamp = 1};
    struct tree tree = {0};
    uint8_t key[LIMIT_TREE_KEY_BYTES];
    memset(key, 'k', sizeof key);
    for (uintptr_t size = 0; size <= sizeof key; size++) {
        assert_null(tree_set(&tree, &batch, key, size, (void *)(size + 1)));
        if (size % 100 == 0) {
            batch.stamp++;
            epoch_advance(epoch);
        }
    }
    for (uintptr_t size = 0; size <= sizeof key; size++) {
        assert_int_equal((uintptr_t)tree_get(&tree, key, size), size + 1);
    }
    key[1000] = 'z'; /* a fork on the way */
    assert_null(tree_set(&tree, &batch, key, sizeof key, &tree));
    key[1000] = 'k';
    batch.stamp++;
    for (uintptr_t size = 0; size <= sizeof key; size += 2) { /* what is between melts */
        assert_int_equal((uintptr_t)tree_remove(&tree, &batch, key, size), size + 1);
    }
    for (uintptr_t size = 0; size <= sizeof key; size++) {
        assert_int_equal((uintptr_t)tree_get(&tree, key, size), size % 2 ? size + 1 : 0);
    }
    tree_retire(&tree, epoch);
    assert_null(tree.root);
    assert_true(epoch_pending(epoch) > 0);
    epoch_advance(epoch);
    epoch_destroy(epoch);
}

static void one_long_key(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct tree_batch batch = {.epoch = epoch, .stamp = 1};
    struct tree tree = {0};
    uint8_t a[LIMIT_TREE_KEY_BYTES], b[LIMIT_TREE_KEY_BYTES];
    memset(a, 'a', sizeof a);
    memcpy(b, a, sizeof b);
    b[sizeof b - 1] = 'b';
    tree_set(&tree, &batch, a, sizeof a, a);
    tree_set(&tree, &batch, b, sizeof b, b);
    batch.stamp++;
    assert_ptr_equal(tree_get(&tree, a, sizeof a), a);
    assert_null(tree_get(&tree, a, sizeof a - 1));
    assert_ptr_equal(tree_remove(&tree, &batch, b, sizeof b), b); /* the prefix is whole again */
    assert_ptr_equal(tree_get(&tree, a, sizeof a), a);
    assert_null(tree_remove(&tree, &batch, b, sizeof b));
    tree_clear(&tree);
    epoch_destroy(epoch);
}

/* A batch copies each path once: setting the same key again replaces no more nodes. */
static void a_batch_copies_a_path_once(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct tree_batch batch = {.epoch = epoch, .stamp = 1};
    struct tree tree = {0};
    for (uint8_t i = 0; i < 100; i++) {
        uint8_t key[3] = {(uint8_t)(i / 10), i, 7};
        tree_set(&tree, &batch, key, 3, &batch);
    }
    assert_int_equal(epoch_pending(epoch), 0); /* in its first batch nothing was visible */
    batch.stamp++;
    uint8_t key[3] = {3, 33, 7};
    tree_set(&tree, &batch, key, 3, &tree);
    size_t pending = epoch_pending(epoch);
    assert_in_range(pending, 2, 4);
    tree_set(&tree, &batch, key, 3, &epoch);
    tree_set(&tree, &batch, key, 3, &tree);
    assert_int_equal(epoch_pending(epoch), pending);
    tree_clear(&tree);
    epoch_destroy(epoch);
}

/* ---- readers of published roots, beside the writer ---- */

struct published {
    struct epoch *epoch;
    _Atomic(struct tree *) tree;
    _Atomic bool stop;
};

static bool sum_values(void *value, void *context) {
    *(uintptr_t *)context += (uintptr_t)value;
    return true;
}

/* In every version the 50 values sum to 50 times the version, which only rises. */
static void *read_versions(void *context) {
    struct published *published = context;
    uintptr_t last = 0;
    intptr_t wrong = 0;
    while (!atomic_load(&published->stop)) {
        epoch_enter(published->epoch);
        const struct tree *tree = atomic_load(&published->tree);
        uintptr_t sum = 0, one = (uintptr_t)tree_get(tree, "key7", 4);
        tree_walk(tree, "key", 3, sum_values, &sum);
        wrong += sum != 50 * one || one < last;
        last = one;
        epoch_exit(published->epoch);
    }
    return (void *)wrong;
}

static void write_version(struct tree *tree, const struct tree_batch *batch, uintptr_t version) {
    for (uint32_t i = 0; i < 50; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "key%u", i);
        if ((version + i) % 3 == 0) {
            tree_remove(tree, batch, key, (size_t)size);
        }
        tree_set(tree, batch, key, (size_t)size, (void *)version);
    }
}

static void published_roots_stay_whole(void **state) {
    (void)state;
    struct published published = {.epoch = epoch_create()};
    struct tree_batch batch = {.epoch = published.epoch, .stamp = 1};
    struct tree tree = {0};
    pthread_t threads[3];
    write_version(&tree, &batch, 1);
    atomic_store(&published.tree, mem_memdup(&tree, sizeof tree));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_versions, &published), 0);
    }
    for (uintptr_t version = 2; version < 1500; version++) {
        batch.stamp++;
        write_version(&tree, &batch, version);
        epoch_retire(published.epoch,
                     atomic_exchange(&published.tree, mem_memdup(&tree, sizeof tree)));
        epoch_advance(published.epoch);
    }
    atomic_store(&published.stop, true);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    free(atomic_load(&published.tree));
    tree_clear(&tree);
    epoch_destroy(published.epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_model),
        cmocka_unit_test(deep_keys),
        cmocka_unit_test(one_long_key),
        cmocka_unit_test(a_batch_copies_a_path_once),
        cmocka_unit_test(published_roots_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
