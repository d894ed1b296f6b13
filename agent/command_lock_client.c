#include "agent/command_lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/loop.h"

#define LOCK_FLAGS "3304740253564472344"       /* 0x2ddccbc058a50c18 */
#define SEMAPHORE_FLAGS "16210313421097356768" /* 0xe0f69a2baa414de0 */
#define TTL_S 15
#define WAIT "15s"
#define RETRY_MS 2000       /* after an answer of 500 */
#define DELAYED_MS 1000     /* between attempts while nobody holds it, but a delay runs */
#define RECORD_BYTES 262144 /* of a semaphore */
#define HOLDERS_MAX 4096

static const char *flags_of(const struct lock *lock) {
    return lock->options.holders > 1 ? SEMAPHORE_FLAGS : LOCK_FLAGS;
}

static bool pause_ms(const _Atomic bool *until, int64_t ms) {
    for (; ms > 0 && !*until; ms -= 100) {
        const struct timespec step = {0, 100000000};
        nanosleep(&step, NULL);
    }
    return !*until;
}

/* ---- the session ---- */

static void *renew(void *context) {
    struct lock *lock = context;
    while (pause_ms(&lock->finished, TTL_S * 1000 / 2)) {
        struct client_answer answer;
        struct err_text text;
        struct arena arena;
        arena_init(&arena);
        const char *path = arena_format(&arena, "/v1/session/renew/%s", lock->session);
        enum err err =
            client_exchange(lock->renewer, "PUT", path, NULL, 0, NULL, 0, &answer, &text);
        if (err == ERR_OK && answer.status == 404) {
            lock->lost = true;
        }
        buf_clear(&answer.body);
        arena_clear(&arena);
    }
    return NULL;
}

enum err lock_open(struct lock *lock, const struct command_options *options,
                   struct err_text *text) {
    struct made {
        const char *id;
    } made = {NULL};
    static const struct decode_field fields[] = {DECODE_FIELD(struct made, id, "ID", DECODE_STR)};
    static const struct decode_spec spec = {"session", sizeof(struct made), fields, 1, true};
    struct buf body, answer;
    struct json json;
    buf_init(&body, 65536);
    json_init(&json, &body, false);
    json_object_begin(&json);
    json_member_str(&json, "Name", lock->options.name);
    json_member_str(&json, "TTL", "15s");
    if (lock->options.holders > 1) {
        json_member_str(&json, "Behavior", "delete");
    }
    json_object_end(&json);
    buf_append_byte(&body, '\0');
    enum err err = client_request(lock->client, "PUT", "/v1/session/create", NULL, 0, body.data,
                                  &answer, text);
    if (err == ERR_OK) {
        err = decode_json(&spec, DECODE_BODY, answer.data, answer.count, &lock->arena, &made, text);
    }
    buf_clear(&body);
    buf_clear(&answer);
    if (err != ERR_OK) {
        err_prefix(text, "Failed to create session");
        return err;
    }
    lock->session = str_or_empty(made.id);
    lock->lock_key = arena_format(&lock->arena, "%s/.lock", lock->options.prefix);
    lock->key = lock->options.holders > 1
                    ? arena_format(&lock->arena, "%s/%s", lock->options.prefix, lock->session)
                    : lock->lock_key;
    lock->renewer = client_create(options);
    if (lock->renewer != NULL) {
        client_interruptible(lock->renewer, &lock->finished);
        ASSERT(pthread_create(&lock->renewing, NULL, renew, lock) == 0);
        lock->renew_runs = true;
    }
    return ERR_OK;
}

/* ---- requests ---- */

static enum err write_key(struct lock *lock, const char *verb, const char *value,
                          const char *query_value, const char *key, bool *ret_yes,
                          struct err_text *text) {
    const struct client_query queries[] = {{verb, query_value}, {"flags", flags_of(lock)}};
    return kv_write(lock->client, "PUT", key, queries, 2, value, strlen(value), ret_yes, text);
}

/* wait_index 0: at once. */
static enum err read_rows(struct client *client, const char *key, bool recurse, bool consistent,
                          uint64_t wait_index, const char *wait, struct arena *arena,
                          struct decode_objects *ret_rows, uint64_t *ret_index,
                          struct err_text *text) {
    struct client_query queries[4];
    size_t count = 0;
    if (recurse) {
        queries[count++] = (struct client_query){"recurse", NULL};
    }
    if (consistent) {
        queries[count++] = (struct client_query){"consistent", NULL};
    }
    if (wait_index > 0) {
        queries[count++] = (struct client_query){
            "index", arena_format(arena, "%llu", (unsigned long long)wait_index)};
        queries[count++] = (struct client_query){"wait", wait};
    }
    return kv_get(client, key, queries, count, arena, ret_rows, ret_index, text);
}

/* Until the time is over or a signal came. Sets *ret_wait to what a blocking query may still take.
 */
static enum err judge_time(const struct lock *lock, int64_t begun_ms, char ret_wait[32],
                           struct err_text *text) {
    int64_t left = lock->options.timeout_ms - (clock_monotonic_ms() - begun_ms);
    snprintf(ret_wait, 32, WAIT);
    if (lock->interrupted) {
        return err_set(text, ERR_CLOSED, "interrupted");
    }
    if (lock->options.timeout_ms > 0) {
        if (left <= 0) {
            return err_set(text, ERR_TIMEOUT, "timeout");
        }
        if (left < 15000) {
            snprintf(ret_wait, 32, "%lldms", (long long)left);
        }
    }
    return lock->lost ? err_set(text, ERR_NOT_FOUND, "the session has ended") : ERR_OK;
}

/* ---- a lock ---- */

static enum err acquire_lock(struct lock *lock, struct err_text *text) {
    int64_t begun_ms = clock_monotonic_ms();
    uint64_t index = 0;
    for (;;) {
        struct arena arena;
        struct decode_objects rows;
        char wait[32];
        enum err err = judge_time(lock, begun_ms, wait, text);
        if (err != ERR_OK) {
            return err;
        }
        arena_init(&arena);
        err = read_rows(lock->client, lock->key, false, false, index, wait, &arena, &rows, &index,
                        text);
        const struct kv_row *row = rows.v;
        bool held = err == ERR_OK && rows.count > 0 && *row->session != '\0';
        if (err == ERR_OK && rows.count > 0 && row->flags != strtoull(LOCK_FLAGS, NULL, 10)) {
            err = err_set(text, ERR_REFUSED, "Existing key does not match lock use");
        }
        arena_clear(&arena);
        if (err != ERR_OK && err != ERR_NOT_FOUND) {
            return err;
        }
        if (held) {
            continue; /* the next query waits for its end */
        }
        bool yes = false;
        err = write_key(lock, "acquire", "", lock->session, lock->key, &yes, text);
        if (err != ERR_OK || yes) {
            return err;
        }
        index = 0; /* taken by another meanwhile, or its delay runs */
        pause_ms(&lock->interrupted, DELAYED_MS);
    }
}

/* ---- a semaphore ---- */

struct record {
    int64_t limit;
    const char *holders[HOLDERS_MAX];
    uint32_t count;
    uint64_t modify_index; /* 0: there is none */
};

struct record_input {
    int64_t limit;
    const char *holders;
};

static const struct decode_field record_fields[] = {
    DECODE_FIELD(struct record_input, limit, "Limit", DECODE_INT),
    DECODE_FIELD(struct record_input, holders, "Holders", DECODE_RAW),
};

static const struct decode_spec record_spec = {"record", sizeof(struct record_input), record_fields,
                                               2, true};

static bool is_contender(const struct decode_objects *rows, const char *prefix,
                         const char *session) {
    const struct kv_row *row = rows->v;
    size_t size = strlen(prefix);
    for (uint32_t i = 0; i < rows->count; i++, row++) {
        if (*row->session != '\0' && strncmp(row->key, prefix, size) == 0 &&
            row->key[size] == '/' && strcmp(row->key + size + 1, session) == 0) {
            return true;
        }
    }
    return false;
}

/* Ids in {"id":true,...}: they hold no escapes. Those without a live contender are left out. */
static void take_holders(struct record *record, const char *json, const struct decode_objects *rows,
                         const char *prefix, struct arena *arena) {
    for (const char *at = strchr(json, '"'); at != NULL && record->count < HOLDERS_MAX;
         at = strchr(at, '"')) {
        size_t size = strcspn(++at, "\"");
        const char *id = arena_strndup(arena, at, size);
        at += size;
        bool on = strncmp(at, "\":true", 6) == 0;
        at += *at == '"';
        if (on && is_contender(rows, prefix, id)) {
            record->holders[record->count++] = id;
        }
    }
}

static enum err find_record(const struct lock *lock, const struct decode_objects *rows,
                            struct arena *arena, struct record *ret_record, struct err_text *text) {
    const struct kv_row *row = rows->v;
    ret_record->limit = lock->options.holders;
    ret_record->count = 0;
    ret_record->modify_index = 0;
    for (uint32_t i = 0; i < rows->count; i++, row++) {
        if (strcmp(row->key, lock->lock_key) != 0) {
            continue;
        }
        struct record_input input = {0};
        size_t size;
        const char *json = kv_value(row, arena, &size);
        if (row->flags != strtoull(SEMAPHORE_FLAGS, NULL, 10)) {
            return err_set(text, ERR_REFUSED, "Existing key does not match semaphore use");
        }
        if (decode_json(&record_spec, DECODE_BODY, json, size, arena, &input, text) != ERR_OK) {
            return ERR_REFUSED;
        }
        if (input.limit != lock->options.holders) {
            return err_set(text, ERR_REFUSED, "semaphore limit conflict (lock: %lld, local: %lld)",
                           (long long)input.limit, (long long)lock->options.holders);
        }
        ret_record->modify_index = row->modify_index;
        take_holders(ret_record, str_or_empty(input.holders), rows, lock->options.prefix, arena);
    }
    return ERR_OK;
}

static bool holds(const struct record *record, const char *session) {
    for (uint32_t i = 0; i < record->count; i++) {
        if (strcmp(record->holders[i], session) == 0) {
            return true;
        }
    }
    return false;
}

/* With this session among the holders, or not. */
static enum err write_record(struct lock *lock, const struct record *record, bool with,
                             bool *ret_yes, struct err_text *text) {
    struct buf out;
    struct json json;
    char index[24];
    buf_init(&out, RECORD_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_key(&json, "Limit");
    json_i64(&json, record->limit);
    json_key(&json, "Holders");
    json_object_begin(&json);
    for (uint32_t i = 0; i < record->count; i++) {
        if (strcmp(record->holders[i], lock->session) != 0) {
            json_member_bool(&json, record->holders[i], true);
        }
    }
    if (with) {
        json_member_bool(&json, lock->session, true);
    }
    json_object_end(&json);
    json_object_end(&json);
    buf_append_byte(&out, '\0');
    snprintf(index, sizeof index, "%llu", (unsigned long long)record->modify_index);
    enum err err = out.failed
                       ? err_set(text, ERR_TOO_LARGE, "the semaphore has too many holders")
                       : write_key(lock, "cas", out.data, index, lock->lock_key, ret_yes, text);
    buf_clear(&out);
    return err;
}

static enum err read_record(struct lock *lock, struct client *client, bool consistent,
                            uint64_t *index, const char *wait, struct arena *arena,
                            struct record *record, struct err_text *text) {
    struct decode_objects rows;
    enum err err = read_rows(client, arena_format(arena, "%s/", lock->options.prefix), true,
                             consistent, *index, wait, arena, &rows, index, text);
    return err == ERR_OK || err == ERR_NOT_FOUND ? find_record(lock, &rows, arena, record, text)
                                                 : err;
}

static enum err acquire_semaphore(struct lock *lock, struct err_text *text) {
    int64_t begun_ms = clock_monotonic_ms();
    uint64_t index = 0;
    bool yes = false;
    enum err err = write_key(lock, "acquire", "", lock->session, lock->key, &yes, text);
    if (err == ERR_OK && !yes) {
        err = err_set(text, ERR_REFUSED, "failed to make contender entry");
    }
    struct record *record = err == ERR_OK ? malloc(sizeof *record) : NULL;
    for (bool done = false; err == ERR_OK && !done;) {
        struct arena arena;
        char wait[32];
        err = judge_time(lock, begun_ms, wait, text);
        if (err != ERR_OK) {
            break;
        }
        arena_init(&arena);
        err = read_record(lock, lock->client, false, &index, wait, &arena, record, text);
        if (err == ERR_OK && record->count < (uint64_t)lock->options.holders) {
            err = write_record(lock, record, true, &yes, text);
            done = err == ERR_OK && yes;
            index = 0;
        }
        arena_clear(&arena);
    }
    free(record);
    return err;
}

enum err lock_acquire(struct lock *lock, struct err_text *text) {
    client_interruptible(lock->client, &lock->interrupted);
    return lock->options.holders > 1 ? acquire_semaphore(lock, text) : acquire_lock(lock, text);
}

/* ---- while it is held ---- */

/* Whether it is still ours; ERR_NOT_FOUND: it is not. */
static enum err look(struct lock *lock, struct client *client, uint64_t *index,
                     struct record *record, struct err_text *text) {
    struct arena arena;
    struct decode_objects rows;
    enum err err;
    arena_init(&arena);
    if (lock->options.holders > 1) {
        err = read_record(lock, client, true, index, WAIT, &arena, record, text);
        if (err == ERR_OK && !holds(record, lock->session)) {
            err = ERR_NOT_FOUND;
        }
    } else {
        err = read_rows(client, lock->key, false, true, *index, WAIT, &arena, &rows, index, text);
        if (err == ERR_OK && (rows.count == 0 || strcmp(((const struct kv_row *)rows.v)->session,
                                                        lock->session) != 0)) {
            err = ERR_NOT_FOUND;
        }
    }
    arena_clear(&arena);
    return err;
}

struct monitor {
    struct lock *lock;
    struct client *client;
};

static void *watch(void *context) {
    struct monitor *monitor = context;
    struct lock *lock = monitor->lock;
    struct record *record = malloc(sizeof *record);
    uint64_t index = 0;
    int64_t retries = lock->options.monitor_retry;
    while (!lock->finished && !lock->lost) {
        struct err_text text;
        enum err err = look(lock, monitor->client, &index, record, &text);
        if (err == ERR_OK) {
            retries = lock->options.monitor_retry;
        } else if (err == ERR_NOT_FOUND || retries-- <= 0) {
            lock->lost = !lock->finished;
        } else {
            index = 0;
            pause_ms(&lock->finished, RETRY_MS);
        }
    }
    free(record);
    client_destroy(monitor->client);
    free(monitor);
    return NULL;
}

void lock_monitor(struct lock *lock, const struct command_options *options) {
    struct monitor *monitor = malloc(sizeof *monitor);
    *monitor = (struct monitor){lock, client_create(options)};
    if (monitor->client == NULL) {
        free(monitor);
        lock->lost = true;
        return;
    }
    client_interruptible(monitor->client, &lock->finished);
    ASSERT(pthread_create(&lock->monitoring, NULL, watch, monitor) == 0);
    lock->monitor_runs = true;
}

/* ---- the end ---- */

static enum err leave_semaphore(struct lock *lock, struct err_text *text) {
    struct record *record = malloc(sizeof *record);
    enum err err = ERR_OK;
    bool yes = false;
    while (err == ERR_OK && !yes) {
        struct arena arena;
        uint64_t index = 0;
        arena_init(&arena);
        err = read_record(lock, lock->client, false, &index, WAIT, &arena, record, text);
        if (err == ERR_OK) {
            yes = !holds(record, lock->session);
            err = yes ? ERR_OK : write_record(lock, record, false, &yes, text);
        }
        arena_clear(&arena);
    }
    free(record);
    if (err == ERR_OK) {
        err = kv_write(lock->client, "DELETE", lock->key, NULL, 0, NULL, 0, &yes, text);
    }
    return err;
}

/* The key goes unless somebody uses it; a semaphore's only without holders and contenders. */
static void remove_unused(struct lock *lock) {
    struct arena arena;
    struct decode_objects rows;
    struct err_text text;
    uint64_t index;
    bool yes;
    bool semaphore = lock->options.holders > 1;
    arena_init(&arena);
    const char *key = semaphore ? arena_format(&arena, "%s/", lock->options.prefix) : lock->key;
    enum err err =
        read_rows(lock->client, key, semaphore, false, 0, WAIT, &arena, &rows, &index, &text);
    const struct kv_row *row = rows.v;
    if (err == ERR_OK && rows.count == 1 && *row->session == '\0' &&
        strcmp(row->key, lock->lock_key) == 0) {
        const struct client_query cas = {
            "cas", arena_format(&arena, "%llu", (unsigned long long)row->modify_index)};
        kv_write(lock->client, "DELETE", lock->lock_key, &cas, 1, NULL, 0, &yes, &text);
    }
    arena_clear(&arena);
}

enum err lock_close(struct lock *lock, struct err_text *text) {
    enum err err = ERR_OK;
    bool yes;
    lock->finished = true;
    if (lock->monitor_runs) {
        pthread_join(lock->monitoring, NULL);
    }
    if (lock->renew_runs) {
        pthread_join(lock->renewing, NULL);
    }
    client_destroy(lock->renewer);
    if (lock->session != NULL) {
        static const _Atomic bool never = false;
        client_interruptible(lock->client, &never);
        err = lock->options.holders > 1
                  ? leave_semaphore(lock, text)
                  : write_key(lock, "release", "", lock->session, lock->key, &yes, text);
        remove_unused(lock);
        struct err_text ignored;
        const char *path = arena_format(&lock->arena, "/v1/session/destroy/%s", lock->session);
        client_request(lock->client, "PUT", path, NULL, 0, NULL, NULL, &ignored);
    }
    return err;
}
