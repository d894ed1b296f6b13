#include "checks/checks.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "checks/helper.h"
#include "checks/internal.h"
#include "checks/tls.h"
#include "checks/transfer.h"
#include "checks/watchers_internal.h"

#define BUCKETS_MIN 16

/* One call on its way to the engine's thread. */
struct message {
    struct loop_task task; /* first */
    struct checks *checks;
    char *id;
    uint64_t generation;
    struct check_spec *spec;
    char *status, *output; /* NULL = not given */
    char *first_status;    /* of a check that is new */
    int64_t ttl_expires_wall_ms;
};

static struct message *message_create(struct checks *checks, const char *id,
                                      void (*run)(struct loop_task *task)) {
    struct message *message = mem_calloc(1, sizeof *message);
    message->task.run = run;
    message->checks = checks;
    message->id = id != NULL ? mem_strdup(id) : NULL;
    message->generation = atomic_fetch_add(&checks->generation, 1) + 1;
    return message;
}

static void message_destroy(struct message *message) {
    free(message->id);
    free(message->spec);
    free(message->status);
    free(message->first_status);
    free(message->output);
    free(message);
}

static struct check **place(const struct checks *checks, const char *id) {
    uint64_t hash = hash_bytes(0, id, strlen(id));
    struct check **at = &checks->buckets[hash & (checks->bucket_count - 1)];
    while (*at != NULL && strcmp((*at)->id, id) != 0) {
        at = &(*at)->chain;
    }
    return at;
}

static void resize(struct checks *checks, uint32_t bucket_count) {
    struct check **old = checks->buckets;
    uint32_t old_count = checks->bucket_count;
    checks->buckets = mem_calloc(bucket_count, sizeof(struct check *));
    checks->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct check *check = old[i];
            old[i] = check->chain;
            check->chain = NULL;
            *place(checks, check->id) = check;
        }
    }
    free(old);
}

static void store_count(struct checks *checks, uint32_t count) {
    checks->count = count;
    atomic_store_explicit(&checks->stat_checks, count, memory_order_relaxed);
}

static struct check *add_check(struct checks *checks, const char *id) {
    if (checks->count >= checks->bucket_count) {
        resize(checks, checks->bucket_count * 2);
    }
    size_t id_bytes = strlen(id) + 1;
    struct check *check = mem_calloc(1, sizeof *check + id_bytes);
    memcpy(check->id, id, id_bytes);
    check->checks = checks;
    *place(checks, id) = check;
    store_count(checks, checks->count + 1);
    return check;
}

/* at: the link that leads to it. */
static void delete_check(struct checks *checks, struct check **at) {
    struct check *check = *at;
    schedule_end(check);
    *at = check->chain;
    free(check->spec);
    free(check->note);
    free(check);
    store_count(checks, checks->count - 1);
}

static void keep_note(struct check *check, const char *note) {
    free(check->note);
    check->note = check->as->passive && note[0] != '\0' ? mem_strdup(note) : NULL;
}

static bool same_spec(const struct check_spec *a, const struct check_spec *b) {
    return a != NULL && a->bytes == b->bytes && memcmp(a, b, a->bytes) == 0;
}

static void run_set(struct loop_task *task) {
    struct message *message = (struct message *)task;
    struct checks *checks = message->checks;
    struct check *check = *place(checks, message->id);
    if (check == NULL) {
        check = add_check(checks, message->id);
        check->status = (uint8_t)catalog_health_of(message->first_status);
        check->output_hash = hash_bytes(0, "", 0);
    }
    check->generation = message->generation;
    check->told = false;
    if (message->status != NULL) {
        check->status = (uint8_t)catalog_health_of(message->status);
    }
    bool same = same_spec(check->spec, message->spec);
    if (!same) {
        schedule_end(check);
        free(check->spec);
        check->spec = message->spec;
        message->spec = NULL;
        check->as = kinds_find((enum check_kind)check->spec->kind);
        threshold_init(&check->threshold, check->spec->success_before_passing,
                       check->spec->failures_before_warning, check->spec->failures_before_critical);
        if (!check->as->passive) {
            keep_note(check, "");
        }
    }
    if (message->output != NULL) {
        check->output_hash = hash_bytes(0, message->output, strlen(message->output));
        keep_note(check, message->output);
    }
    if (!same || check->as->passive) {
        struct checks_resume resume = {.ttl_expires_wall_ms = message->ttl_expires_wall_ms};
        schedule_begin(check, &resume);
    }
    message_destroy(message);
}

static void run_remove(struct loop_task *task) {
    struct message *message = (struct message *)task;
    struct check **at = place(message->checks, message->id);
    if (*at != NULL) {
        delete_check(message->checks, at);
    }
    message_destroy(message);
}

static void run_update(struct loop_task *task) {
    struct message *message = (struct message *)task;
    struct check *check = *place(message->checks, message->id);
    if (check != NULL && check->spec->kind == CHECK_TTL) {
        char *note = checks_format_note(message->output, check->spec->output_bytes_max);
        check->generation = message->generation;
        check->told = false;
        keep_note(check, note);
        schedule_begin(check, NULL);
        check_tell(check, catalog_health_of(message->status), note);
        free(note);
    }
    message_destroy(message);
}

static void run_stop(struct loop_task *task) {
    struct message *message = (struct message *)task;
    struct checks *checks = message->checks;
    for (uint32_t i = 0; i < checks->bucket_count; i++) {
        while (checks->buckets[i] != NULL) {
            delete_check(checks, &checks->buckets[i]);
        }
    }
    watchers_stop(checks->watchers);
    checks->watchers = NULL;
    transfers_destroy(checks->transfers);
    checks->transfers = NULL;
    tls_destroy(checks->tls);
    helper_destroy(checks->helper);
    checks->helper = NULL;
    loop_stop(checks->loop);
    message_destroy(message);
}

static void *run_thread(void *context) {
    struct checks *checks = context;
    loop_run(checks->loop);
    return NULL;
}

struct checks *checks_create(struct log *log, uint64_t seed, checks_result_fn *result,
                             void *context, struct err_text *text) {
    struct loop *loop = loop_create(text);
    if (loop == NULL) {
        return NULL;
    }
    struct checks *checks = mem_calloc(1, sizeof *checks);
    checks->loop = loop;
    checks->log = log;
    checks->result = result;
    checks->context = context;
    rand_init(&checks->rand, seed);
    for (int kind = 0; kind < LANE_COUNT; kind++) {
        TAILQ_INIT(&checks->lanes[kind].waiting);
    }
    resize(checks, BUCKETS_MIN);
    loop_set_turn_end(loop, schedule_run_waiting, checks);
    /* Signals are the business of the thread that made this one: a broken pipe of a TLS connection
     * must not end the program. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&checks->thread, NULL, run_thread, checks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        err_set_errno(text, error, "cannot start the thread of the checks");
        loop_destroy(loop);
        free(checks->buckets);
        free(checks);
        return NULL;
    }
    pthread_setname_np(checks->thread, "checks");
    return checks;
}

void checks_destroy(struct checks *checks) {
    if (checks == NULL) {
        return;
    }
    loop_post(checks->loop, &message_create(checks, NULL, run_stop)->task);
    pthread_join(checks->thread, NULL);
    loop_destroy(checks->loop);
    free(checks->buckets);
    free(checks);
}

uint64_t checks_set(struct checks *checks, const struct check_definition *def,
                    const struct checks_resume *resume) {
    struct message *message = message_create(checks, def->id, run_set);
    message->spec = spec_create(def);
    message->first_status = mem_strdup(def->status[0] != '\0' ? def->status : "critical");
    if (resume != NULL) {
        message->status = resume->status[0] != '\0' ? mem_strdup(resume->status) : NULL;
        message->output = resume->output[0] != '\0' ? mem_strdup(resume->output) : NULL;
        message->ttl_expires_wall_ms = resume->ttl_expires_wall_ms;
    }
    uint64_t generation = message->generation;
    loop_post(checks->loop, &message->task);
    return generation;
}

void checks_remove(struct checks *checks, const char *id) {
    loop_post(checks->loop, &message_create(checks, id, run_remove)->task);
}

uint64_t checks_update_ttl(struct checks *checks, const char *id, const char *status,
                           const char *output) {
    struct message *message = message_create(checks, id, run_update);
    message->status = mem_strdup(status);
    message->output = mem_strdup(output);
    uint64_t generation = message->generation;
    loop_post(checks->loop, &message->task);
    return generation;
}

static uint64_t load(const _Atomic uint64_t *stat) {
    return atomic_load_explicit(stat, memory_order_relaxed);
}

void checks_get_stats(const struct checks *checks, struct checks_stats *ret_stats) {
    *ret_stats = (struct checks_stats){.checks = load(&checks->stat_checks),
                                       .running = load(&checks->stat_running),
                                       .waiting = load(&checks->stat_waiting),
                                       .runs_done = load(&checks->stat_done)};
}
