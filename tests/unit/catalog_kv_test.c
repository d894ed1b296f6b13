/* Keys, sessions and transactions as text: tests/transcripts/kv/<what>.txt. Commands, of which each
 * that writes takes the next index:
 *
 *   node <name>, check <node> <id> <status>, drop-node <name>, drop-check <node> <id>
 *   set <key> <value>, cas <index> <key> <value>, lock <s> <key> <value>, unlock <s> <key> <value>
 *   delete <key>, delete-cas <index> <key>, delete-tree <prefix>
 *   session <s> <node> [delete] [delay] [check]...   s is a letter, which stands for a UUID
 *   end <s>, delay-end <key> <index>, reap <index>
 *   remove <s> <boot epoch> <counter> [prune], forget <s> <index>, removed    s is a member's
 *   txn <JSON>                                       as at the HTTP API
 *   get <key>, list <prefix>, keys <prefix> <separator>, sessions, index <key>, prefix <prefix>
 *   watch key <key>, watch prefix <prefix>, watch sessions, watch session <s>
 *
 * Every command runs on two catalogs, whose hashes must agree. At the end of a file a snapshot
 * restored into a third one must show the same. */
#include "tests/unit/catalog_support.h"

#include <stdio.h>

#include "base/arena.h"
#include "catalog/definition.h"
#include "catalog/internal.h"
#include "catalog/row.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/kv/*.txt"
#define GROUPS_MAX 16
#define WORDS_MAX 12

struct world {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog, *twin;
    uint64_t index;
    struct waiter waiters[GROUPS_MAX];
    size_t waiter_count;
    struct buf out;
    bool waits; /* commands gather before they are published */
};

/* ---- words ---- */

struct words {
    char line[TRANSCRIPT_LINE_BYTES];
    const char *v[WORDS_MAX];
    size_t count;
};

static void split(struct words *words, const char *line) {
    snprintf(words->line, sizeof words->line, "%s", line);
    words->count = 0;
    for (char *at = strtok(words->line, " "); at != NULL; at = strtok(NULL, " ")) {
        assert_true(words->count < WORDS_MAX);
        words->v[words->count++] = at;
    }
}

static const char *word(const struct words *words, size_t at) {
    return at < words->count ? words->v[at] : "";
}

static uint64_t number(const struct words *words, size_t at) {
    return strtoull(word(words, at), NULL, 10);
}

/* "a" -> aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa */
static const char *session_id(const char *letter, struct arena *arena) {
    char id[37];
    if (strlen(letter) != 1) {
        return arena_strdup(arena, letter);
    }
    memset(id, *letter, 36);
    id[8] = id[13] = id[18] = id[23] = '-';
    id[36] = '\0';
    return arena_strdup(arena, id);
}

/* ---- what is shown ---- */

static const char *letter_of(const char *id) {
    static char letter[2];
    letter[0] = *id;
    return letter;
}

static bool print_kv(const struct catalog_kv *kv, void *context) {
    struct buf *out = context;
    buf_append_format(out, "  %s=%.*s", catalog_kv_key(kv), (int)kv->value_size,
                      catalog_kv_value(kv));
    if (kv->flags != 0) {
        buf_append_format(out, " flags=%llu", (unsigned long long)kv->flags);
    }
    if (kv->session_size > 0) {
        buf_append_format(out, " held by %s", letter_of(catalog_kv_session(kv)));
    }
    buf_append_format(out, " lock=%llu @%llu/%llu\n", (unsigned long long)kv->lock_index,
                      (unsigned long long)kv->create_index, (unsigned long long)kv->modify_index);
    return true;
}

static bool print_key(const char *key, size_t size, void *context) {
    buf_append_format(context, "  %.*s\n", (int)size, key);
    return true;
}

static bool print_session(const struct catalog_session *session, void *context) {
    struct buf *out = context;
    buf_append_format(out, "  %s on %s %s @%llu\n", letter_of(session->id), session->node,
                      session->behavior, (unsigned long long)session->create_index);
    return true;
}

static bool print_delay(const struct catalog_lock_delay *delay, void *context) {
    buf_append_format(context, "  delay %s @%llu %lld ms\n", delay->key,
                      (unsigned long long)delay->index, (long long)delay->delay_ms);
    return true;
}

static bool print_removal(const struct catalog_removal *removal, void *context) {
    buf_append_format(context, "  removed %s %s %u.%u%s @%llu/%llu\n", letter_of(removal->id),
                      removal->name, removal->boot_epoch, removal->counter,
                      removal->prune ? " pruned" : "", (unsigned long long)removal->create_index,
                      (unsigned long long)removal->modify_index);
    return true;
}

static void print_number(struct buf *out, const char *name, uint64_t value) {
    buf_append_format(out, "  %s %llu\n", name, (unsigned long long)value);
}

static void dump(const struct catalog_view *view, struct buf *out) {
    view_walk_kvs(view, "", print_kv, out);
    view_walk_sessions(view, print_session, out);
    view_walk_lock_delays(view, print_delay, out);
    view_walk_removals(view, print_removal, out);
    print_number(out, "absent", view_index_kv(view, "surely absent"));
    print_number(out, "all", view_index_prefix(view, ""));
    print_number(out, "sessions", view_index_sessions(view));
    print_number(out, "tombstones", view_count_tombstones(view));
    static const char *const prefixes[] = {"a", "a/", "a/b", "b", "b/", "c/", "x"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        print_number(out, prefixes[i], view_index_prefix(view, prefixes[i]));
    }
    print_number(out, "hash", view_row_hash(view));
}

/* ---- writes ---- */

static enum err apply_both(struct world *world, const struct catalog_command *command,
                           struct catalog_result *result, struct err_text *text) {
    struct err_text twin_text = {""};
    struct buf bytes;
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &bytes);
    world->index++;
    enum err err = catalog_apply(world->catalog, world->index, (const uint8_t *)bytes.data,
                                 bytes.count, result, text);
    assert_int_equal(catalog_apply(world->twin, world->index, (const uint8_t *)bytes.data,
                                   bytes.count, NULL, &twin_text),
                     err);
    buf_clear(&bytes);
    if (!world->waits) {
        catalog_publish(world->catalog);
        catalog_publish(world->twin);
        while (catalog_sweep(world->catalog)) {
        }
    }
    assert_int_equal(view_row_hash(&world->catalog->next), view_row_hash(&world->twin->next));
    return err;
}

static void print_result(struct world *world, const struct catalog_result *result) {
    struct buf *out = &world->out;
    for (uint32_t i = 0; i < result->answer_count; i++) {
        if (result->answers[i].kind == ROW_KV) {
            buf_append_str(out, "  answer");
            print_kv(result->answers[i].row, out);
        } else {
            static const char *const kinds[] = {"kv", "node", "service", "check"};
            buf_append_format(out, "  answer %s\n", kinds[result->answers[i].kind]);
        }
    }
    for (uint32_t i = 0; i < result->failure_count; i++) {
        buf_append_format(out, "  failure %u: %s\n", result->failures[i].operation,
                          result->failures[i].sentence);
    }
}

static void run(struct world *world, const struct catalog_command *command) {
    struct catalog_result result = {0};
    struct err_text text = {""};
    uint64_t hash = view_row_hash(catalog_view(world->catalog));
    enum err err = apply_both(world, command, &result, &text);
    bool same = hash == view_row_hash(catalog_view(world->catalog));
    if (err != ERR_OK) {
        assert_true(same);
        buf_append_format(&world->out, "  %s: %s\n", err_name(err), text.s);
    } else if (result.failure_count > 0) {
        assert_true(same);
    } else {
        buf_append_format(&world->out, "  %s @%llu%s\n", result.unchanged ? "no" : "ok",
                          (unsigned long long)world->index, same ? ", nothing changed" : "");
    }
    print_result(world, &result);
    catalog_result_clear(&result);
    struct watch_group *group;
    while ((group = watches_take_dirty(world->watches)) != NULL) {
        buf_append_format(&world->out, "  wakes %s\n", watch_group_query(group));
    }
}

static bool write_kv(struct world *world, const struct words *w, struct arena *arena) {
    static const struct {
        const char *name;
        enum catalog_kv_verb verb;
        unsigned index, session, key, value; /* places of the words; 0 = none */
    } forms[] = {{"set", KV_SET, 0, 0, 1, 2},
                 {"cas", KV_CAS, 1, 0, 2, 3},
                 {"lock", KV_LOCK, 0, 1, 2, 3},
                 {"unlock", KV_UNLOCK, 0, 1, 2, 3},
                 {"delete", KV_DELETE, 0, 0, 1, 0},
                 {"delete-cas", KV_DELETE_CAS, 1, 0, 2, 0},
                 {"delete-tree", KV_DELETE_TREE, 0, 0, 1, 0}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(word(w, 0), forms[i].name) == 0) {
            const char *value = forms[i].value > 0 ? word(w, forms[i].value) : "";
            struct catalog_command command = {
                .kind = COMMAND_KV,
                .kv = {.verb = forms[i].verb,
                       .key = word(w, forms[i].key),
                       .value = {(const uint8_t *)value, (uint32_t)strlen(value)},
                       .index = forms[i].index > 0 ? number(w, forms[i].index) : 0,
                       .session = forms[i].session > 0
                                      ? session_id(word(w, forms[i].session), arena)
                                      : ""}};
            run(world, &command);
            return true;
        }
    }
    return false;
}

static void write_session(struct world *world, const struct words *w, struct arena *arena) {
    const char *checks[WORDS_MAX];
    struct catalog_session session = {.id = session_id(word(w, 1), arena),
                                      .name = "",
                                      .node = word(w, 2),
                                      .behavior = "release",
                                      .ttl = "",
                                      .node_checks = {checks, 0}};
    for (size_t i = 3; i < w->count; i++) {
        if (strcmp(w->v[i], "delete") == 0) {
            session.behavior = "delete";
        } else if (strcmp(w->v[i], "delay") == 0) {
            session.lock_delay_ns = 15000000000;
        } else if (str_starts_with(w->v[i], "name=")) {
            session.name = w->v[i] + strlen("name=");
        } else {
            checks[session.node_checks.count++] = w->v[i];
        }
    }
    run(world, &(struct catalog_command){.kind = COMMAND_SESSION, .session = session});
}

static void write_txn(struct world *world, const char *json, struct arena *arena) {
    struct catalog_command command = {.kind = COMMAND_TRANSACTION};
    struct catalog_result failures = {0};
    struct err_text text = {""};
    if (definition_parse_transaction(json, strlen(json), 100, arena, &command.transaction,
                                     &failures, &text) != ERR_OK) {
        buf_append_format(&world->out, "  before the log: %s\n", text.s);
    } else if (failures.failure_count > 0) {
        print_result(world, &failures);
    } else if (transaction_is_read(&command.transaction)) {
        struct catalog_result result = {0};
        buf_append_str(&world->out, "  a read\n");
        view_run_transaction(catalog_view(world->catalog), &command.transaction, &result);
        print_result(world, &result);
        catalog_result_clear(&result);
    } else {
        run(world, &command);
    }
    catalog_result_clear(&failures);
}

static bool write_removal(struct world *world, const struct words *w, struct arena *arena) {
    bool remove = strcmp(word(w, 0), "remove") == 0;
    struct catalog_removal removal = {.id = session_id(word(w, 1), arena), .name = word(w, 1)};
    if (!remove && strcmp(word(w, 0), "forget") != 0) {
        return false;
    }
    if (remove) {
        removal.boot_epoch = (uint32_t)number(w, 2);
        removal.counter = (uint32_t)number(w, 3);
        removal.prune = strcmp(word(w, 4), "prune") == 0;
        run(world, &(struct catalog_command){.kind = COMMAND_REMOVAL, .removal = removal});
    } else {
        removal.modify_index = number(w, 2);
        run(world,
            &(struct catalog_command){.kind = COMMAND_REMOVAL_END, .removal_end = {&removal, 1}});
    }
    return true;
}

static bool write_other(struct world *world, const struct words *w, const char *line,
                        struct arena *arena) {
    const char *name = word(w, 0);
    if (strcmp(name, "node") == 0) {
        struct catalog_command command = {.kind = COMMAND_REGISTER,
                                          .reg = {.node = node_row(word(w, 1), "1.1.1.1")}};
        run(world, &command);
    } else if (strcmp(name, "check") == 0) {
        struct catalog_check check = check_row(word(w, 1), word(w, 2), "", word(w, 3));
        if (w->count > 4) { /* of a session of this name */
            check.type = "session";
            check.definition = arena_format(arena, "{\"SessionName\":\"%s\"}", word(w, 4));
        }
        struct catalog_command command = {
            .kind = COMMAND_REGISTER,
            .reg = {.node = node_row(word(w, 1), "1.1.1.1"), .checks = &check, .check_count = 1}};
        run(world, &command);
    } else if (str_starts_with(name, "drop-")) {
        struct catalog_command command = {.kind = COMMAND_DEREGISTER,
                                          .dereg = {word(w, 1), "", word(w, 2)}};
        run(world, &command);
    } else if (strcmp(name, "session") == 0) {
        write_session(world, w, arena);
    } else if (strcmp(name, "end") == 0) {
        run(world, &(struct catalog_command){.kind = COMMAND_SESSION_END,
                                             .session_id = session_id(word(w, 1), arena)});
    } else if (strcmp(name, "delay-end") == 0) {
        struct catalog_lock_delay delay = {.key = word(w, 1), .index = number(w, 2)};
        run(world, &(struct catalog_command){.kind = COMMAND_LOCK_DELAY_END,
                                             .lock_delay_end = {&delay, 1}});
    } else if (strcmp(name, "reap") == 0) {
        run(world, &(struct catalog_command){.kind = COMMAND_REAP, .reap_index = number(w, 1)});
    } else if (strcmp(name, "txn") == 0) {
        write_txn(world, line + 4, arena);
    } else {
        return false;
    }
    return true;
}

/* ---- reads ---- */

static bool print_check(const struct catalog_check *check, void *context) {
    buf_append_format(context, "  %s %s%s%s @%llu\n", check->id, check->status,
                      *check->output != '\0' ? ": " : "", check->output,
                      (unsigned long long)check->modify_index);
    return true;
}

static void watch(struct world *world, const struct words *w, const char *line,
                  struct arena *arena) {
    const char *what = word(w, 1), *name = word(w, 2);
    bool session = strcmp(what, "session") == 0;
    enum watch_kind kind = strcmp(what, "key") == 0      ? WATCH_KEY
                           : strcmp(what, "prefix") == 0 ? WATCH_PREFIX
                           : session                     ? WATCH_SESSION
                                                         : WATCH_SESSIONS;
    assert_true(world->waiter_count < GROUPS_MAX);
    watches_join(world->watches, kind, session ? session_id(name, arena) : name, line + 6,
                 &world->waiters[world->waiter_count++]);
}

static void read_command(struct world *world, const struct words *w, const char *line,
                         struct arena *arena) {
    const struct catalog_view *view = catalog_view(world->catalog);
    struct buf *out = &world->out;
    const char *name = word(w, 0);
    if (strcmp(name, "get") == 0) {
        const struct catalog_kv *kv = view_get_kv(view, word(w, 1));
        if (kv != NULL) {
            print_kv(kv, out);
        }
        print_number(out, "index", view_index_kv(view, word(w, 1)));
    } else if (strcmp(name, "list") == 0) {
        view_walk_kvs(view, word(w, 1), print_kv, out);
        print_number(out, "index", view_index_prefix(view, word(w, 1)));
    } else if (strcmp(name, "keys") == 0) {
        bool none = strcmp(word(w, 1), "-") == 0;
        view_walk_keys(view, none ? "" : word(w, 1), word(w, 2), print_key, out);
    } else if (strcmp(name, "sessions") == 0) {
        view_walk_sessions(view, print_session, out);
        view_walk_lock_delays(view, print_delay, out);
        print_number(out, "index", view_index_sessions(view));
    } else if (strcmp(name, "removed") == 0) {
        view_walk_removals(view, print_removal, out);
        print_number(out, "index", view_index_removals(view));
    } else if (strcmp(name, "checks") == 0) {
        view_walk_node_checks(view, word(w, 1), print_check, out);
    } else if (strcmp(name, "index") == 0) {
        print_number(out, "index", view_index_kv(view, word(w, 1)));
    } else if (strcmp(name, "prefix") == 0) {
        print_number(out, "index", view_index_prefix(view, word(w, 1)));
    } else if (strcmp(name, "watch") == 0) {
        watch(world, w, line, arena);
    } else {
        fail_msg("unknown command: %s", line);
    }
}

static void run_line(void *context, const char *line) {
    struct world *world = context;
    struct words words;
    struct arena arena;
    arena_init(&arena);
    split(&words, line);
    epoch_enter(world->epoch);
    if (!write_kv(world, &words, &arena) && !write_other(world, &words, line, &arena) &&
        !write_removal(world, &words, &arena)) {
        read_command(world, &words, line, &arena);
    }
    epoch_exit(world->epoch);
    arena_clear(&arena);
}

/* ---- the end of a file ---- */

static void expect_restored(struct world *world) {
    struct catalog *restored = catalog_create(world->epoch, NULL);
    struct buf bytes, before, after;
    struct err_text text = {""};
    buf_init(&bytes, 64 * TRANSCRIPT_BYTES_MAX);
    buf_init(&before, 64 * TRANSCRIPT_BYTES_MAX);
    buf_init(&after, 64 * TRANSCRIPT_BYTES_MAX);
    assert_int_equal(catalog_snapshot(catalog_view(world->catalog), keep, &bytes), ERR_OK);
    struct source source = {.data = bytes.data, .count = bytes.count};
    if (catalog_restore(restored, give, &source, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
    dump(catalog_view(world->catalog), &before);
    dump(catalog_view(restored), &after);
    buf_append_byte(&before, '\0');
    buf_append_byte(&after, '\0');
    assert_string_equal(after.data, before.data);
    buf_clear(&bytes);
    buf_clear(&before);
    buf_clear(&after);
    catalog_destroy(restored);
}

static void world_init(struct world *world) {
    *world = (struct world){.epoch = epoch_create(), .watches = watches_create()};
    world->catalog = catalog_create(world->epoch, world->watches);
    world->twin = catalog_create(world->epoch, NULL);
}

static void world_clear(struct world *world) {
    for (size_t i = 0; i < world->waiter_count; i++) {
        watches_leave(world->watches, &world->waiters[i]);
    }
    catalog_destroy(world->catalog);
    catalog_destroy(world->twin);
    watches_destroy(world->watches);
    epoch_destroy(world->epoch);
}

static void run_transcript(const char *path) {
    struct world world;
    world_init(&world);
    transcript_run(path, &world.out, run_line, &world);
    expect_restored(&world);
    world_clear(&world);
}

static void transcripts(void **state) {
    (void)state;
    transcript_run_all(PATTERN, 6, run_transcript);
}

/* ---- at random ---- */

/* Indexes never go back, and a transaction that fails leaves everything as it was: judged after
 * each of many random commands. Sums of the trees are judged against the rows. */

#define COMMANDS 4000
#define PREFIXES 5

static const char *const prefixes[PREFIXES] = {"a/", "a/b", "a/b/", "b", ""};

static const char *random_key(struct rand *rand, struct arena *arena) {
    static const char *const parts[] = {"a", "b", "a/b", "c/", "/"};
    const char *key = parts[rand_below(rand, 3)];
    for (uint64_t i = rand_below(rand, 4); i > 0; i--) {
        key = arena_format(arena, "%s/%s%u", key, parts[rand_below(rand, 5)],
                           (unsigned)rand_below(rand, 3));
    }
    return key;
}

static struct catalog_kv_operation random_operation(struct rand *rand, struct arena *arena) {
    uint64_t verb = rand_below(rand, 20);
    const char *value = arena_format(arena, "%u", (unsigned)rand_below(rand, 3));
    char letter[2] = {(char)('a' + rand_below(rand, 4)), '\0'};
    return (struct catalog_kv_operation){.verb = verb < 7    ? KV_SET
                                                 : verb < 12 ? KV_LOCK
                                                 : verb < 14 ? KV_UNLOCK
                                                 : verb < 17 ? KV_DELETE
                                                 : verb < 19 ? KV_CAS
                                                             : KV_DELETE_TREE,
                                         .key = random_key(rand, arena),
                                         .value = {(const uint8_t *)value, (uint32_t)strlen(value)},
                                         .index = rand_below(rand, 3),
                                         .session = session_id(letter, arena)};
}

static void random_command(struct rand *rand, struct world *world, struct arena *arena,
                           struct catalog_command *command) {
    char letter[2] = {(char)('a' + rand_below(rand, 4)), '\0'};
    uint64_t kind = rand_below(rand, 16);
    *command = (struct catalog_command){.kind = COMMAND_KV};
    if (kind < 8) {
        command->kv = random_operation(rand, arena);
    } else if (kind < 11) {
        uint32_t count = 1 + (uint32_t)rand_below(rand, 6);
        struct catalog_operation *all = arena_alloc(arena, count * sizeof *all);
        for (uint32_t i = 0; i < count; i++) {
            all[i] =
                (struct catalog_operation){.kind = ROW_KV, .kv = random_operation(rand, arena)};
        }
        if (rand_below(rand, 4) == 0) {
            all[0] = (struct catalog_operation){
                .kind = ROW_NODE,
                .verb = rand_below(rand, 2) ? ROW_SET : ROW_DELETE,
                .node = node_row("n", rand_below(rand, 2) ? "1.1.1.1" : "2.2.2.2")};
        }
        command->kind = COMMAND_TRANSACTION;
        command->transaction = (struct catalog_transaction){all, count};
    } else if (kind < 14) {
        command->kind = COMMAND_SESSION;
        command->session =
            (struct catalog_session){.id = session_id(letter, arena),
                                     .name = "",
                                     .node = "n",
                                     .behavior = rand_below(rand, 2) ? "release" : "delete",
                                     .lock_delay_ns = (int64_t)rand_below(rand, 2) * 1000000,
                                     .ttl = ""};
    } else if (kind < 15) {
        command->kind = COMMAND_SESSION_END;
        command->session_id = session_id(letter, arena);
    } else if (rand_below(rand, 2) == 0) {
        command->kind = COMMAND_REAP;
        command->reap_index = world->index > 20 ? world->index - rand_below(rand, 20) : 0;
    } else {
        command->kind = COMMAND_REGISTER;
        command->reg.node = node_row("n", "1.1.1.1");
    }
}

static bool add_row(const struct catalog_kv *kv, void *context) {
    struct tree_sum *sum = context;
    sum->count++;
    sum->hash += row_hash_kv(kv);
    sum->newest = kv->modify_index > sum->newest ? kv->modify_index : sum->newest;
    return true;
}

/* Keys cut at a separator, the slow way. */
struct cuts {
    const char *prefix, *separator;
    char last[LIMIT_KV_KEY_BYTES + 1];
    struct buf out;
};

static bool put_cut(const char *key, size_t size, void *context) {
    struct cuts *cuts = context;
    buf_append(&cuts->out, key, size);
    buf_append_byte(&cuts->out, '\n');
    return true;
}

static bool cut_row(const struct catalog_kv *kv, void *context) {
    struct cuts *cuts = context;
    const char *key = catalog_kv_key(kv);
    const char *at = strstr(key + strlen(cuts->prefix), cuts->separator);
    size_t size = at != NULL ? (size_t)(at - key) + strlen(cuts->separator) : kv->key_size;
    if (strlen(cuts->last) != size || memcmp(cuts->last, key, size) != 0) {
        memcpy(cuts->last, key, size);
        cuts->last[size] = '\0';
        put_cut(key, size, cuts);
    }
    return true;
}

static void judge_keys(const struct catalog_view *view, const char *prefix, const char *separator) {
    struct cuts fast = {0}, slow = {.prefix = prefix, .separator = separator, .last = "\n"};
    buf_init(&fast.out, TRANSCRIPT_BYTES_MAX);
    buf_init(&slow.out, TRANSCRIPT_BYTES_MAX);
    view_walk_keys(view, prefix, separator, put_cut, &fast);
    view_walk_kvs(view, prefix, cut_row, &slow);
    buf_append_byte(&fast.out, '\0');
    buf_append_byte(&slow.out, '\0');
    assert_string_equal(fast.out.data, slow.out.data);
    buf_clear(&fast.out);
    buf_clear(&slow.out);
}

static void judge(struct world *world, uint64_t indexes[PREFIXES]) {
    const struct catalog_view *view = &world->catalog->next;
    assert_int_equal(tree_sum(&view->kvs, NULL, 0).count, view->kvs.count);
    for (size_t i = 0; i < PREFIXES; i++) {
        uint64_t index = view_index_prefix(view, prefixes[i]);
        struct tree_sum rows = {0};
        struct tree_sum sum = tree_sum(&view->kvs, prefixes[i], strlen(prefixes[i]));
        view_walk_kvs(view, prefixes[i], add_row, &rows);
        assert_memory_equal(&sum, &rows, sizeof sum);
        judge_keys(view, prefixes[i], i % 2 > 0 ? "/" : "/a");
        assert_true(index >= indexes[i]);
        indexes[i] = index;
    }
}

static void at_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world world;
        struct rand rand;
        uint64_t indexes[PREFIXES] = {0};
        unsigned failed = 0, went_well = 0;
        world_init(&world);
        rand_init(&rand, seed);
        for (unsigned i = 0; i < COMMANDS; i++) {
            struct arena arena;
            struct catalog_command command;
            struct catalog_result result = {0};
            struct err_text text = {""};
            arena_init(&arena);
            random_command(&rand, &world, &arena, &command);
            world.waits = i + 1 < COMMANDS && rand_below(&rand, 3) > 0;
            uint64_t hash = view_row_hash(&world.catalog->next);
            enum err err = apply_both(&world, &command, &result, &text);
            if (err != ERR_OK || result.failure_count > 0) {
                assert_int_equal(view_row_hash(&world.catalog->next), hash);
            }
            failed += result.failure_count > 0;
            went_well += result.answer_count > 0 && result.failure_count == 0;
            judge(&world, indexes);
            catalog_result_clear(&result);
            arena_clear(&arena);
        }
        assert_true(failed > 100 && went_well > 100);
        expect_restored(&world);
        world_clear(&world);
    }
}

/* ---- large ---- */

/* A prefix of many keys goes in one command without a walk, and its rows are freed afterwards. */
static void large_prefix(void **state) {
    (void)state;
    struct world world;
    world_init(&world);
    for (unsigned i = 0; i < 20000; i++) {
        char key[32];
        struct err_text text;
        snprintf(key, sizeof key, "big/%u/x", i);
        struct catalog_command command = {
            .kind = COMMAND_KV,
            .kv = {.verb = KV_SET, .key = key, .value = {(const uint8_t *)"v", 1}, .session = ""}};
        assert_int_equal(apply_command(world.catalog, ++world.index, &command, &text), ERR_OK);
    }
    catalog_publish(world.catalog);
    struct catalog_command command = {.kind = COMMAND_KV,
                                      .kv = {.verb = KV_DELETE_TREE, .key = "big/", .session = ""}};
    struct err_text text;
    size_t pending = epoch_pending(world.epoch);
    assert_int_equal(apply_command(world.catalog, ++world.index, &command, &text), ERR_OK);
    assert_true(epoch_pending(world.epoch) < pending + 100); /* not a block a key */
    catalog_publish(world.catalog);
    assert_int_equal(view_count_kvs(catalog_view(world.catalog)), 0);
    unsigned turns = 1;
    while (catalog_sweep(world.catalog)) {
        turns++;
    }
    assert_true(turns > 10);
    assert_true(epoch_pending(world.epoch) < 4 * LIMIT_SWEEP_NODES);
    world_clear(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(transcripts), cmocka_unit_test(at_random),
                                       cmocka_unit_test(large_prefix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
