/* The keys of the pools: their files, and changes of them at all members at once (contract 17.3).
 * A member is asked over a connection of the pool's own kind, which proves the present key:
 *   "list" | "install KEY" | "use KEY" | "remove KEY"   answered with its keys, the primary first
 * and a server of another datacenter, over the WAN pool:
 *   "dc list" | ...    the same for all of its LAN pool, answered with JSON as clients see it
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/pools_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "store/replace.h"

#define FILE_BYTES (LIMIT_KEYRING_KEYS * (KEYRING_TEXT_BYTES + 8) + 64)
#define ASK_MS 5000
#define ASKED_AT_ONCE 32
#define ANSWER_BYTES (1024 * 1024)
#define MESSAGE_BYTES 200
#define FAR_MS 15000    /* it asks its members first */
#define FAR_MAX 256     /* datacenters */
#define FAR_BYTES 65536 /* of one's answer */

static const char *const words[] = {[BACKEND_KEYS_LIST] = "list",
                                    [BACKEND_KEYS_INSTALL] = "install",
                                    [BACKEND_KEYS_USE] = "use",
                                    [BACKEND_KEYS_REMOVE] = "remove"};

/* ---- files ---- */

static void ring_path(const struct member_pool *pool, char path[POOL_PATH_BYTES]) {
    pools_path(pool->agent, pool->wan ? "remote.keyring" : "local.keyring", path);
}

static bool keeps_file(const struct member_pool *pool) {
    return pool->agent->pools->saver != NULL && !pool->agent->config->gossip.no_keyring_file;
}

static void key_saved(void *context, enum err err, const struct err_text *text) {
    struct member_pool *pool = context;
    if (err != ERR_OK) {
        log_write(pool->agent->log, LOG_ERROR, pool->module,
                  "the keyring is not kept: a restart has the old one: error=\"%s\"", text->s);
    }
}

static char *format_ring(const struct member_pool *pool, size_t *ret_size) {
    struct buf out;
    struct json json;
    buf_init(&out, FILE_BYTES);
    json_init(&json, &out, false);
    json_array_begin(&json);
    for (size_t i = 0; i < keyring_count(pool->ring); i++) {
        char key[KEYRING_TEXT_BYTES];
        keyring_format_key(keyring_get(pool->ring, i), key);
        json_str(&json, key);
    }
    json_array_end(&json);
    return buf_take(&out, ret_size);
}

static void save_ring(struct member_pool *pool) {
    char path[POOL_PATH_BYTES];
    size_t size = 0;
    if (keeps_file(pool)) {
        ring_path(pool, path);
        char *data = format_ring(pool, &size);
        saver_write(pool->agent->pools->saver, path, data, size, key_saved, pool);
    }
}

struct ring_file {
    struct str_list keys;
};

static const struct decode_field ring_fields[] = {
    DECODE_FIELD(struct ring_file, keys, "keys", DECODE_STR_LIST)};
static const struct decode_spec ring_spec = {"keyring", sizeof(struct ring_file), ring_fields, 1,
                                             false};

/* False: there is no such file. */
static bool read_ring(const char *path, struct arena *arena, struct ring_file *ret_file,
                      enum err *ret_err, struct err_text *text) {
    char block[FILE_BYTES + 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t used = (size_t)snprintf(block, sizeof block, "{\"keys\":");
    ssize_t n = read(fd, block + used, FILE_BYTES);
    close(fd);
    used += n > 0 ? (size_t)n : 0;
    while (used > 0 && strchr("\r\n \t", block[used - 1]) != NULL) {
        used--;
    }
    block[used++] = '}';
    *ret_err = decode_json(&ring_spec, DECODE_BODY, block, used, arena, ret_file, text);
    return true;
}

static enum err install_text(struct member_pool *pool, const char *text_of_key,
                             struct err_text *text) {
    struct keyring_key key;
    enum err err = keyring_parse_key(text_of_key, &key, text);
    return err == ERR_OK ? keyring_install(pool->ring, &key, text) : err;
}

enum err pool_keys_load(struct member_pool *pool, struct err_text *text) {
    struct agent *agent = pool->agent;
    const char *encrypt = agent->config->gossip.encrypt;
    char path[POOL_PATH_BYTES];
    struct ring_file file = {.keys = {0}};
    struct arena arena;
    enum err err = ERR_OK;
    pool->ring = keyring_create();
    ring_path(pool, path);
    arena_init(&arena);
    if (keeps_file(pool) && read_ring(path, &arena, &file, &err, text)) {
        for (uint32_t i = 0; err == ERR_OK && i < file.keys.count; i++) {
            err = install_text(pool, file.keys.v[i], text);
        }
        if (err != ERR_OK) {
            err_prefix(text, "%.200s", path);
        } else if (*encrypt != '\0') {
            log_write(agent->log, LOG_WARN, pool->module,
                      "the keyring file is there, 'encrypt' of the configuration is not used");
        }
    } else if (*encrypt != '\0') {
        size_t size = 0;
        err = install_text(pool, encrypt, text);
        char *data = err == ERR_OK && keeps_file(pool) ? format_ring(pool, &size) : NULL;
        err = data != NULL ? store_replace_file(path, data, size, text) : err;
        free(data);
    }
    arena_clear(&arena);
    return err;
}

/* ---- one member ---- */

static enum err change_ring(struct member_pool *pool, enum backend_keys_action action,
                            const char *text_of_key, struct err_text *text) {
    struct keyring_key key;
    if (keyring_count(pool->ring) == 0) {
        return err_set(text, ERR_REFUSED,
                       action == BACKEND_KEYS_LIST
                           ? "Keyring is empty (encryption not enabled)"
                           : "No keyring to modify (encryption not enabled)");
    }
    enum err err =
        action != BACKEND_KEYS_LIST ? keyring_parse_key(text_of_key, &key, text) : ERR_OK;
    if (err != ERR_OK || action == BACKEND_KEYS_LIST) {
        return err;
    }
    uint64_t before = keyring_version(pool->ring);
    err = action == BACKEND_KEYS_INSTALL ? keyring_install(pool->ring, &key, text)
          : action == BACKEND_KEYS_USE   ? keyring_use(pool->ring, &key, text)
                                         : keyring_remove(pool->ring, &key, text);
    if (err == ERR_OK && keyring_version(pool->ring) != before) {
        log_write(pool->agent->log, LOG_INFO, pool->module, "gossip key: action=%s keys=%zu",
                  words[action], keyring_count(pool->ring));
        save_ring(pool);
    }
    return err;
}

static void write_keys(const struct member_pool *pool, struct buf *out) {
    for (size_t i = 0; i < keyring_count(pool->ring); i++) {
        char key[KEYRING_TEXT_BYTES];
        keyring_format_key(keyring_get(pool->ring, i), key);
        buf_append_format(out, "%s%s", i > 0 ? " " : "", key);
    }
}

/* The word's action; false: there is none such. */
static bool find_action(const char *word, enum backend_keys_action *ret_action) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret_action = (enum backend_keys_action)i;
            return true;
        }
    }
    return false;
}

/* A question of another datacenter about this one's LAN pool. */
struct far_call {
    struct backend_call call; /* first */
    struct member_pool *pool; /* WAN */
    struct rpc_ticket ticket;
    char key[KEYRING_TEXT_BYTES];
};

static void answer_far(void *context) {
    struct far_call *far = context;
    if (far->pool->pool != NULL) { /* else nobody waits any more */
        rpc_answer(pool_rpc(far->pool->pool), far->ticket, far->call.err, &far->call.text,
                   far->call.answer, far->call.answer_size);
    }
    free(far->call.answer);
    free(far);
}

static void run_far(struct member_pool *pool, struct rpc_ticket ticket,
                    enum backend_keys_action action, const char *key) {
    struct far_call *far = mem_calloc(1, sizeof *far);
    far->pool = pool;
    far->ticket = ticket;
    strncat(far->key, key, sizeof far->key - 1);
    far->call =
        (struct backend_call){.kind = BACKEND_KEYRING,
                              .keyring = {.action = action, .key = far->key, .local_only = true}};
    pool_keys_run(pool->agent, &far->call, answer_far, far);
}

static void answer(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                   const uint8_t *body, size_t size) {
    struct member_pool *pool = context;
    char line[64 + KEYRING_TEXT_BYTES] = "";
    struct err_text text = {"malformed question"};
    enum backend_keys_action action;
    enum err err = ERR_INVALID;
    struct buf out;
    (void)from;
    memcpy(line, body, size < sizeof line ? size : sizeof line - 1);
    bool far = pool->wan && str_starts_with(line, "dc ");
    char *word = far ? line + strlen("dc ") : line;
    char *key = strchr(word, ' ');
    if (key != NULL) {
        *key++ = '\0';
    }
    bool found = find_action(word, &action);
    if (found && far) {
        run_far(pool, ticket, action, str_or_empty(key));
        return;
    }
    if (found) {
        err = change_ring(pool, action, str_or_empty(key), &text);
    }
    buf_init(&out, FILE_BYTES);
    write_keys(pool, &out);
    rpc_answer(pool_rpc(pool->pool), ticket, err, &text, out.data, out.count);
    buf_clear(&out);
}

static const struct rpc_service keys_service = {.request = answer};

void pool_keys_serve(struct member_pool *pool) {
    rpc_serve(pool_rpc(pool->pool), RPC_METHOD_KEYRING, &keys_service, pool);
}

/* ---- all members ---- */

struct key_count {
    char text[KEYRING_TEXT_BYTES];
    unsigned all, primary;
};

struct keys_round;

struct asked {
    struct keys_round *round;
    struct addr addr;
    char *name, *message; /* message: what went wrong; NULL = nothing */
    struct rpc_connection *connection;
    struct rpc_request request;
};

/* One pool's part of a call. */
struct keys_round {
    struct keys_call *call;
    struct member_pool *pool;
    struct asked *members; /* without this one */
    uint32_t count, next, done;
    struct key_count keys[4 * LIMIT_KEYRING_KEYS];
    unsigned key_count, failures;
    char *own_message;
};

/* A server of another datacenter, which is asked about its LAN pool. */
struct far_asked {
    struct keys_call *call;
    char *datacenter;
    struct addr addr; /* of family 0: none of its servers is alive */
    char *answer;     /* a JSON object, or what went wrong */
    bool failed;
    struct rpc_connection *connection;
    struct rpc_request request;
};

struct keys_call {
    struct agent *agent;
    struct backend_call *call;
    void (*done)(void *context);
    void *context;
    struct keys_round rounds[2]; /* WAN, LAN */
    unsigned first, waiting;
    struct far_asked *far;
    uint32_t far_count;
    struct loop_timer end_timer;
};

static void add_keys(struct keys_round *round, const char *text, size_t size) {
    char *copy = mem_alloc(size + 1), *rest = copy;
    unsigned place = 0;
    memcpy(copy, text, size);
    copy[size] = '\0';
    for (char *key; (key = strsep(&rest, " ")) != NULL; place++) {
        unsigned i = 0;
        while (i < round->key_count && strcmp(round->keys[i].text, key) != 0) {
            i++;
        }
        if (*key == '\0' || strlen(key) >= KEYRING_TEXT_BYTES ||
            i == sizeof round->keys / sizeof round->keys[0]) {
            continue;
        }
        if (i == round->key_count) {
            round->key_count++;
            strcpy(round->keys[i].text, key);
        }
        round->keys[i].all++;
        round->keys[i].primary += place == 0;
    }
    free(copy);
}

static void write_round(const struct keys_round *round, struct json *json) {
    json_object_begin(json);
    json_member_bool(json, "WAN", round->pool->wan);
    json_member_str(json, "Datacenter", round->pool->agent->config->datacenter);
    json_member_str(json, "Segment", "");
    for (int primary = 0; primary < 2; primary++) {
        json_key(json, primary ? "PrimaryKeys" : "Keys");
        json_object_begin(json);
        for (unsigned i = 0; i < round->key_count; i++) {
            unsigned count = primary ? round->keys[i].primary : round->keys[i].all;
            if (count > 0) {
                json_member_u64(json, round->keys[i].text, count);
            }
        }
        json_object_end(json);
    }
    json_member_u64(json, "NumNodes", round->count + 1);
    json_object_end(json);
}

static void write_failures(const struct keys_round *round, struct buf *out, unsigned *lines) {
    const struct config *config = round->pool->agent->config;
    if (round->failures == 0) {
        return;
    }
    buf_append_format(out, "\t* %s%s error: %u/%u nodes reported failure\n",
                      round->pool->wan ? "WAN" : config->datacenter,
                      round->pool->wan ? "" : " (LAN)", round->failures, round->count + 1);
    (*lines)++;
    if (round->own_message != NULL) {
        buf_append_format(out, "\t* %s%s%s: %s\n", config->node_name, round->pool->wan ? "." : "",
                          round->pool->wan ? config->datacenter : "", round->own_message);
        (*lines)++;
    }
    for (uint32_t i = 0; i < round->count; i++) {
        if (round->members[i].message != NULL) {
            buf_append_format(out, "\t* %s: %s\n", round->members[i].name,
                              round->members[i].message);
            (*lines)++;
        }
    }
}

/* Its own lines, if it has told any: those of pools and members begin so. */
static void write_far_failure(const struct far_asked *far, struct buf *out, unsigned *lines) {
    unsigned before = *lines;
    for (const char *at = far->answer; *at != '\0';) {
        int n = (int)strcspn(at, "\n");
        if (str_starts_with(at, "\t* ")) {
            buf_append_format(out, "%.*s\n", n, at);
            (*lines)++;
        }
        at += n + (at[n] == '\n');
    }
    if (*lines == before) {
        buf_append_format(out, "\t* %s (LAN) error: %s\n", far->datacenter, far->answer);
        (*lines)++;
    }
}

static void finish_far(struct keys_call *all) {
    for (uint32_t i = 0; i < all->far_count; i++) {
        free(all->far[i].datacenter);
        free(all->far[i].answer);
    }
    free(all->far);
}

static void finish_call(struct keys_call *all) {
    struct backend_call *call = all->call;
    struct buf out;
    unsigned lines = 0;
    buf_init(&out, ANSWER_BYTES + FAR_MAX * FAR_BYTES);
    for (unsigned i = all->first; i < 2; i++) {
        write_failures(&all->rounds[i], &out, &lines);
    }
    for (uint32_t i = 0; i < all->far_count; i++) {
        if (all->far[i].failed) {
            write_far_failure(&all->far[i], &out, &lines);
        }
    }
    if (lines > 0) {
        buf_append_byte(&out, '\0');
        call->err = err_set(&call->text, ERR_REFUSED, "%u error%s occurred:\n%s\n", lines,
                            lines == 1 ? "" : "s", out.data);
    } else if (call->keyring.action == BACKEND_KEYS_LIST) {
        struct json json;
        json_init(&json, &out, false);
        json_array_begin(&json);
        for (unsigned i = all->first; i < 2; i++) {
            write_round(&all->rounds[i], &json);
        }
        for (uint32_t i = 0; i < all->far_count; i++) {
            json_raw(&json, all->far[i].answer);
        }
        json_array_end(&json);
        call->answer = buf_take(&out, &call->answer_size);
    }
    buf_clear(&out);
    for (unsigned i = all->first; i < 2; i++) {
        struct keys_round *round = &all->rounds[i];
        for (uint32_t k = 0; k < round->count; k++) {
            free(round->members[k].name);
            free(round->members[k].message);
        }
        free(round->members);
        free(round->own_message);
        round->pool->changed = true; /* shows whether it is encrypted */
    }
    finish_far(all);
    void (*done)(void *context) = all->done;
    void *context = all->context;
    free(all);
    done(context);
}

static void part_done(struct keys_call *all) {
    if (--all->waiting == 0) {
        struct loop *loop = all->agent->loop;
        loop_timer_start(loop, &all->end_timer, loop_now_ms(loop));
    }
}

/* "[dc ]action[ key]" */
static size_t write_question(const struct keys_call *all, bool far,
                             char line[64 + KEYRING_TEXT_BYTES]) {
    const struct backend_call *call = all->call;
    return (size_t)snprintf(
        line, 64 + KEYRING_TEXT_BYTES, "%s%s%s%.45s", far ? "dc " : "", words[call->keyring.action],
        call->keyring.action != BACKEND_KEYS_LIST ? " " : "", call->keyring.key);
}

static void ask_more(struct keys_round *round);

static void member_done(struct asked *asked, enum err err, const struct err_text *text,
                        const uint8_t *body, size_t size) {
    struct keys_round *round = asked->round;
    struct rpc_connection *connection = asked->connection;
    asked->connection = NULL;
    if (err == ERR_OK) {
        add_keys(round, (const char *)body, size);
    } else {
        asked->message = mem_strdup(text->s);
        asked->message[strnlen(asked->message, MESSAGE_BYTES)] = '\0';
        round->failures++;
    }
    rpc_close(connection);
    round->done++;
    ask_more(round);
}

static void member_answered(struct rpc_request *request, enum err err, const struct err_text *text,
                            const uint8_t *body, size_t size) {
    struct asked *asked = CONTAINER_OF(request, struct asked, request);
    if (asked->connection != NULL) {
        member_done(asked, err, text, body, size);
    }
}

static void member_opened(void *context, struct rpc_connection *connection) {
    struct asked *asked = context;
    char line[64 + KEYRING_TEXT_BYTES];
    size_t size = write_question(asked->round->call, false, line);
    asked->request.done = member_answered;
    (void)rpc_request(connection, &asked->request, RPC_METHOD_KEYRING, line, size, ASK_MS);
}

static void member_closed(void *context, struct rpc_connection *connection, enum err err,
                          const struct err_text *text) {
    struct asked *asked = context;
    (void)connection;
    if (asked->connection != NULL) {
        asked->connection = NULL;
        member_done(asked, err == ERR_OK ? ERR_CLOSED : err, text, NULL, 0);
    }
}

static const struct rpc_events member_events = {.opened = member_opened, .closed = member_closed};

static void ask_more(struct keys_round *round) {
    while (round->next < round->count && round->next - round->done < ASKED_AT_ONCE) {
        struct asked *asked = &round->members[round->next++];
        asked->connection =
            rpc_connect(pool_rpc(round->pool->pool), &asked->addr, NULL, &member_events, asked);
    }
    if (round->done == round->count && round->next == round->count) {
        round->next++; /* once */
        part_done(round->call);
    }
}

static void end_fired(struct loop_timer *timer) {
    finish_call(CONTAINER_OF(timer, struct keys_call, end_timer));
}

static void begin_round(struct keys_call *all, struct keys_round *round, struct member_pool *pool) {
    const struct gossip *gossip = pool_gossip(pool->pool);
    struct backend_call *call = all->call;
    struct gossip_member member;
    struct err_text text;
    struct buf own;
    round->call = all;
    round->pool = pool;
    round->members = mem_calloc(gossip_member_slots(gossip) + 1, sizeof *round->members);
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        if (gossip_member_at(gossip, i, &member) && !member.self &&
            (member.state == GOSSIP_ALIVE || member.state == GOSSIP_SUSPECT)) {
            round->members[round->count++] =
                (struct asked){.round = round,
                               .addr = pool_addr(&member.descriptor->info.address),
                               .name = mem_strdup(member.descriptor->info.name)};
        }
    }
    if (change_ring(pool, call->keyring.action, call->keyring.key, &text) != ERR_OK) {
        round->own_message = mem_strdup(text.s);
        round->failures++;
    }
    buf_init(&own, FILE_BYTES);
    write_keys(pool, &own);
    if (own.count > 0) {
        add_keys(round, own.data, own.count);
    }
    buf_clear(&own);
    ask_more(round);
}

/* ---- other datacenters ---- */

/* text is the answer, one object in a list, or what went wrong. */
static void far_done(struct far_asked *far, bool failed, const char *text, size_t size) {
    struct rpc_connection *connection = far->connection;
    far->connection = NULL;
    bool list = far->call->call->keyring.action == BACKEND_KEYS_LIST;
    bool garbage = !failed && list &&
                   (size < 4 || size > FAR_BYTES || memcmp(text, "[{", 2) != 0 ||
                    memcmp(text + size - 2, "}]", 2) != 0 || memchr(text, '\0', size) != NULL);
    far->failed = failed || garbage;
    if (garbage) {
        far->answer = mem_strdup("a malformed answer");
    } else {
        size_t skip = !failed && list ? 1 : 0; /* the list around it */
        far->answer = mem_alloc(size + 1);
        memcpy(far->answer, text + skip, size - 2 * skip);
        far->answer[size - 2 * skip] = '\0';
    }
    if (connection != NULL) {
        rpc_close(connection);
    }
    part_done(far->call);
}

static void far_answered(struct rpc_request *request, enum err err, const struct err_text *text,
                         const uint8_t *body, size_t size) {
    struct far_asked *far = CONTAINER_OF(request, struct far_asked, request);
    if (far->connection != NULL) {
        const char *told = err == ERR_OK ? (const char *)body : text->s;
        far_done(far, err != ERR_OK, told != NULL ? told : "", err == ERR_OK ? size : strlen(told));
    }
}

static void far_opened(void *context, struct rpc_connection *connection) {
    struct far_asked *far = context;
    char line[64 + KEYRING_TEXT_BYTES];
    size_t size = write_question(far->call, true, line);
    far->request.done = far_answered;
    (void)rpc_request(connection, &far->request, RPC_METHOD_KEYRING, line, size, FAR_MS);
}

static void far_closed(void *context, struct rpc_connection *connection, enum err err,
                       const struct err_text *text) {
    struct far_asked *far = context;
    (void)connection;
    (void)err;
    if (far->connection != NULL) {
        far->connection = NULL;
        far_done(far, true, text->s, strlen(text->s));
    }
}

static const struct rpc_events far_events = {.opened = far_opened, .closed = far_closed};

/* One server of each datacenter, an alive one if there is any. */
static void find_far(struct keys_call *all) {
    const struct gossip *gossip = pool_gossip(all->agent->pools->wan.pool);
    struct gossip_member member;
    all->far = mem_calloc(FAR_MAX, sizeof *all->far);
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        if (!gossip_member_at(gossip, i, &member) || member.state == GOSSIP_LEFT) {
            continue;
        }
        const char *dc = str_or_empty(str_map_get(&member.descriptor->info.tags, "dc"));
        uint32_t at = 0;
        while (at < all->far_count && strcmp(all->far[at].datacenter, dc) != 0) {
            at++;
        }
        if (*dc == '\0' || strcmp(dc, all->agent->config->datacenter) == 0 || at == FAR_MAX) {
            continue;
        }
        if (at == all->far_count) {
            all->far[all->far_count++] =
                (struct far_asked){.call = all, .datacenter = mem_strdup(dc)};
        }
        if (member.state == GOSSIP_ALIVE ||
            (member.state == GOSSIP_SUSPECT && all->far[at].addr.any.sa_family == AF_UNSPEC)) {
            all->far[at].addr = pool_addr(&member.descriptor->info.address);
        }
    }
}

static void ask_far(struct keys_call *all) {
    static const char lost[] = "no server of it is alive";
    for (uint32_t i = 0; i < all->far_count; i++) {
        struct far_asked *far = &all->far[i];
        if (far->addr.any.sa_family == AF_UNSPEC) {
            far_done(far, true, lost, strlen(lost));
        } else {
            far->connection = rpc_connect(pool_rpc(all->agent->pools->wan.pool), &far->addr, NULL,
                                          &far_events, far);
        }
    }
}

void pool_keys_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                   void *context) {
    struct pools *pools = agent->pools;
    struct keyring_key key;
    if (call->keyring.action != BACKEND_KEYS_LIST &&
        keyring_parse_key(call->keyring.key, &key, &call->text) != ERR_OK) {
        call->err = ERR_REFUSED; /* nothing is installed anywhere */
        done(context);
        return;
    }
    struct keys_call *all = mem_calloc(1, sizeof *all);
    *all = (struct keys_call){.agent = agent,
                              .call = call,
                              .done = done,
                              .context = context,
                              .end_timer = {.run = end_fired}};
    bool wan = pools->wan.pool != NULL && !call->keyring.local_only;
    all->first = wan ? 0 : 1;
    all->waiting = wan ? 2 : 1;
    if (wan) {
        find_far(all);
        all->waiting += all->far_count;
        begin_round(all, &all->rounds[0], &pools->wan);
    }
    begin_round(all, &all->rounds[1], &pools->lan);
    ask_far(all);
}
