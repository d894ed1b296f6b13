/* The catalog as text: tests/transcripts/catalog/<what>.txt. Commands:
 *
 *   register <JSON body>, deregister <JSON body>   as at the HTTP API; each takes the next index
 *   skip                                           an entry without a command
 *   watch <nodes|services|checks|service|node> <name>
 *   nodes, node <name>, find-node <id prefix>, services, service <name>, checks
 *   node-services <node>, node-checks <node>, indexes, service-index <name>, node-index <name>
 *   long <n>                                       $LONG in later commands is so many letters
 *
 * Every command runs on two catalogs, whose row hashes must agree, and at the end of a file a
 * snapshot restored into a third one must show the same rows, indexes and hash. */
#include "tests/unit/catalog_support.h"

#include "base/arena.h"
#include "catalog/definition.h"
#include "catalog/row.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/catalog/*.txt"
#define GROUPS_MAX 16

struct session {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog, *twin;
    uint64_t index;
    struct waiter waiters[GROUPS_MAX];
    size_t waiter_count;
    char text_long[1024];
    struct buf out;
};

/* ---- what is shown ---- */

static void print_list(struct buf *out, const char *name, const struct str_list *list) {
    if (list->count > 0) {
        buf_append_format(out, " %s=", name);
        for (uint32_t i = 0; i < list->count; i++) {
            buf_append_format(out, "%s%s", i > 0 ? "," : "", list->v[i]);
        }
    }
}

static void print_str(struct buf *out, const char *name, const char *value) {
    if (*value != '\0') {
        buf_append_format(out, " %s=%s", name, value);
    }
}

static void print_map(struct buf *out, const char *name, const struct str_map *map) {
    if (map->present) {
        buf_append_format(out, " %s={", name);
        for (uint32_t i = 0; i < map->count; i++) {
            buf_append_format(out, "%s%s:%s", i > 0 ? "," : "", map->v[i].key, map->v[i].value);
        }
        buf_append_byte(out, '}');
    }
}

static void print_indexes(struct buf *out, uint64_t create, uint64_t modify) {
    buf_append_format(out, " @%llu/%llu\n", (unsigned long long)create, (unsigned long long)modify);
}

static bool print_node(const struct catalog_node *node, void *context) {
    struct buf *out = context;
    buf_append_format(out, "  %s %s", node->name, node->address);
    print_str(out, "id", node->id);
    print_map(out, "tagged", &node->tagged_addresses);
    print_map(out, "meta", &node->meta);
    print_str(out, "region", node->region);
    print_str(out, "zone", node->zone);
    print_indexes(out, node->create_index, node->modify_index);
    return true;
}

static bool print_service(const struct catalog_service *service, void *context) {
    struct buf *out = context;
    buf_append_format(out, "  %s %s on %s", service->id, service->name, service->node);
    print_str(out, "address", service->address);
    if (service->port > 0) {
        buf_append_format(out, " port=%u", service->port);
    }
    print_list(out, "tags", &service->tags);
    print_map(out, "meta", &service->meta);
    if (service->weight_passing != 1 || service->weight_warning != 1) {
        buf_append_format(out, " weights=%u/%u", service->weight_passing, service->weight_warning);
    }
    print_indexes(out, service->create_index, service->modify_index);
    return true;
}

static bool print_check(const struct catalog_check *check, void *context) {
    struct buf *out = context;
    buf_append_format(out, "  %s %s on %s", check->id, check->status, check->node);
    if (strcmp(check->id, check->name) != 0) {
        print_str(out, "name", check->name);
    }
    if (*check->service_id != '\0') {
        buf_append_format(out, " of %s (%s)", check->service_id, check->service_name);
    }
    print_list(out, "tags", &check->service_tags);
    print_str(out, "output", check->output);
    print_str(out, "type", check->type);
    print_str(out, "interval", check->interval);
    print_str(out, "definition", check->definition);
    print_indexes(out, check->create_index, check->modify_index);
    return true;
}

static bool print_instance(const struct catalog_instance *instance, void *context) {
    static const char *const healths[] = {"passing", "warning", "critical"};
    struct buf *out = context;
    print_service(instance->service, out);
    out->count--; /* the line goes on */
    buf_append_format(out, " at %s %s", instance->node->address, healths[instance->health]);
    for (uint32_t i = 0; i < instance->check_count; i++) {
        buf_append_format(out, "%s%s", i > 0 ? "," : " checks=", instance->checks[i]->id);
    }
    buf_append_byte(out, '\n');
    return true;
}

static void print_number(struct buf *out, const char *name, uint64_t value) {
    buf_append_format(out, "  %s %llu\n", name, (unsigned long long)value);
}

static void print_table_indexes(const struct catalog_view *view, struct buf *out) {
    buf_append_format(
        out, "  nodes %llu, services %llu, checks %llu, applied %llu\n",
        (unsigned long long)view_index_nodes(view), (unsigned long long)view_index_services(view),
        (unsigned long long)view_index_checks(view), (unsigned long long)view_applied(view));
}

static bool same_as_get(const struct catalog_service *service, void *context) {
    const struct catalog_view *view = context;
    assert_ptr_equal(view_get_service(view, service->node, service->id), service);
    return true;
}

struct dump {
    const struct catalog_view *view;
    struct buf *out;
};

static bool dump_node_index(const struct catalog_node *node, void *context) {
    struct dump *dump = context;
    print_number(dump->out, node->name, view_index_node(dump->view, node->name));
    return true;
}

static bool dump_service_index(const struct catalog_instance *instance, void *context) {
    struct dump *dump = context;
    const char *name = instance->service->name;
    print_number(dump->out, name, view_index_service(dump->view, name));
    return true;
}

/* Everything a view says. */
static void dump(const struct catalog_view *view, struct buf *out) {
    struct dump indexes = {view, out};
    view_walk_nodes(view, print_node, out);
    view_walk_all_instances(view, print_instance, out);
    view_walk_all_checks(view, print_check, out);
    view_walk_nodes(view, dump_node_index, &indexes);
    view_walk_all_instances(view, dump_service_index, &indexes);
    print_number(out, "unknown service", view_index_service(view, "unknown"));
    print_number(out, "unknown node", view_index_node(view, "unknown"));
    print_table_indexes(view, out);
    print_number(out, "hash", view_row_hash(view));
}

static bool judge_node(const struct catalog_node *node, void *context) {
    struct session *session = context;
    const struct catalog_view *view = catalog_view(session->catalog);
    view_walk_node_services(view, node->name, same_as_get, (void *)(uintptr_t)view);
    assert_ptr_equal(view_get_node(view, node->name), node);
    if (*node->id != '\0') {
        assert_ptr_equal(view_get_node_by_id(view, node->id), node);
    }
    return true;
}

/* ---- commands ---- */

static enum err parse(const char *line, struct arena *arena, struct catalog_command *command,
                      struct err_text *text) {
    const char *dc;
    if (str_starts_with(line, "register ")) {
        command->kind = COMMAND_REGISTER;
        return definition_parse_register(line + 9, strlen(line + 9), arena, &command->reg, &dc,
                                         text);
    }
    command->kind = COMMAND_DEREGISTER;
    return definition_parse_deregister(line + 11, strlen(line + 11), arena, &command->dereg, &dc,
                                       text);
}

static void print_wakes(struct session *session) {
    struct watch_group *group;
    while ((group = watches_take_dirty(session->watches)) != NULL) {
        buf_append_format(&session->out, "  wakes %s\n", watch_group_query(group));
    }
}

static void publish(struct session *session) {
    catalog_publish(session->catalog);
    catalog_publish(session->twin);
    assert_int_equal(view_row_hash(catalog_view(session->catalog)),
                     view_row_hash(catalog_view(session->twin)));
}

static void write_command(struct session *session, const char *line) {
    struct arena arena;
    struct err_text text = {""};
    struct catalog_command command;
    arena_init(&arena);
    enum err err = parse(line, &arena, &command, &text);
    if (err != ERR_OK) {
        buf_append_format(&session->out, "  %s before the log: %s\n", err_name(err), text.s);
    } else {
        struct err_text twin_text = {""};
        uint64_t hash = view_row_hash(catalog_view(session->catalog));
        session->index++;
        err = apply_command(session->catalog, session->index, &command, &text);
        assert_int_equal(apply_command(session->twin, session->index, &command, &twin_text), err);
        assert_string_equal(text.s, twin_text.s);
        publish(session);
        if (err != ERR_OK) {
            assert_int_equal(hash, view_row_hash(catalog_view(session->catalog)));
            buf_append_format(&session->out, "  %s: %s\n", err_name(err), text.s);
        } else {
            buf_append_format(
                &session->out, "  ok @%llu%s\n", (unsigned long long)session->index,
                hash == view_row_hash(catalog_view(session->catalog)) ? ", nothing changed" : "");
        }
    }
    print_wakes(session);
    arena_clear(&arena);
}

static void watch(struct session *session, const char *what) {
    static const char *const kinds[] = {"nodes", "services", "checks", "service", "node"};
    const char *name = strchr(what, ' ');
    size_t size = name != NULL ? (size_t)(name - what) : strlen(what);
    assert_true(session->waiter_count < GROUPS_MAX);
    for (int kind = 0; kind < (int)(sizeof kinds / sizeof kinds[0]); kind++) {
        if (strlen(kinds[kind]) == size && memcmp(kinds[kind], what, size) == 0) {
            watches_join(session->watches, (enum watch_kind)kind, name != NULL ? name + 1 : "",
                         what, &session->waiters[session->waiter_count++]);
            return;
        }
    }
    fail_msg("unknown watch: %s", what);
}

static void read_command(struct session *session, const char *line) {
    const struct catalog_view *view = catalog_view(session->catalog);
    struct buf *out = &session->out;
    size_t size = strcspn(line, " ");
    const char *name = line[size] == ' ' ? line + size + 1 : "";
    if (strcmp(line, "nodes") == 0) {
        view_walk_nodes(view, print_node, out);
        view_walk_nodes(view, judge_node, session);
        print_number(out, "index", view_index_nodes(view));
    } else if (str_starts_with(line, "node ")) {
        const struct catalog_node *node = view_get_node(view, name);
        if (node != NULL) {
            print_node(node, out);
        }
        print_number(out, "index", view_index_node(view, name));
    } else if (str_starts_with(line, "find-node ")) {
        const struct catalog_node *node = view_find_node_by_id_prefix(view, name);
        buf_append_format(out, "  %s\n", node != NULL ? node->name : "none or several");
    } else if (strcmp(line, "services") == 0) {
        view_walk_all_instances(view, print_instance, out);
        print_number(out, "index", view_index_services(view));
    } else if (str_starts_with(line, "service ")) {
        view_walk_instances(view, name, print_instance, out);
        print_number(out, "index", view_index_service(view, name));
    } else if (strcmp(line, "checks") == 0) {
        view_walk_all_checks(view, print_check, out);
        print_number(out, "index", view_index_checks(view));
    } else if (str_starts_with(line, "node-services ")) {
        view_walk_node_services(view, name, print_service, out);
    } else if (str_starts_with(line, "node-checks ")) {
        view_walk_node_checks(view, name, print_check, out);
    } else if (strcmp(line, "indexes") == 0) {
        print_table_indexes(view, out);
    } else if (str_starts_with(line, "service-index ")) {
        print_number(out, "index", view_index_service(view, name));
    } else if (str_starts_with(line, "node-index ")) {
        print_number(out, "index", view_index_node(view, name));
    } else {
        fail_msg("unknown command: %s", line);
    }
}

/* $LONG stands for as many letters as the last `long` said. */
static void expand(const struct session *session, const char *line, struct buf *out) {
    const char *mark = strstr(line, "$LONG");
    if (mark == NULL) {
        buf_append_str(out, line);
    } else {
        buf_append(out, line, (size_t)(mark - line));
        buf_append_str(out, session->text_long);
        buf_append_str(out, mark + 5);
    }
    buf_append_byte(out, '\0');
}

static void run_command(void *context, const char *line) {
    struct session *session = context;
    struct buf expanded;
    if (str_starts_with(line, "long ")) {
        size_t size = strtoul(line + 5, NULL, 10);
        assert_true(size < sizeof session->text_long);
        memset(session->text_long, 'x', size);
        session->text_long[size] = '\0';
        return;
    }
    buf_init(&expanded, 2 * TRANSCRIPT_LINE_BYTES);
    expand(session, line, &expanded);
    line = expanded.data;
    epoch_enter(session->epoch);
    if (str_starts_with(line, "register ") || str_starts_with(line, "deregister ")) {
        write_command(session, line);
    } else if (strcmp(line, "skip") == 0) {
        catalog_skip(session->catalog, ++session->index);
        catalog_skip(session->twin, session->index);
        publish(session);
        print_wakes(session);
    } else if (str_starts_with(line, "watch ")) {
        watch(session, line + 6);
    } else {
        read_command(session, line);
    }
    epoch_exit(session->epoch);
    buf_clear(&expanded);
}

/* ---- the end of a file ---- */

static enum err keep(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return ERR_OK;
}

struct source {
    const struct buf *from;
    size_t at;
};

static int64_t give(void *context, void *data, size_t size) {
    struct source *source = context;
    size_t left = source->from->count - source->at;
    size = size < left ? size : left;
    memcpy(data, source->from->data + source->at, size);
    source->at += size;
    return (int64_t)size;
}

static void expect_restored(struct session *session) {
    struct catalog *restored = catalog_create(session->epoch, NULL);
    struct buf bytes, before, after;
    struct err_text text = {""};
    buf_init(&bytes, TRANSCRIPT_BYTES_MAX);
    buf_init(&before, TRANSCRIPT_BYTES_MAX);
    buf_init(&after, TRANSCRIPT_BYTES_MAX);
    assert_int_equal(catalog_snapshot(catalog_view(session->catalog), keep, &bytes), ERR_OK);
    struct source source = {.from = &bytes};
    if (catalog_restore(restored, give, &source, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
    dump(catalog_view(session->catalog), &before);
    dump(catalog_view(restored), &after);
    buf_append_byte(&before, '\0');
    buf_append_byte(&after, '\0');
    assert_string_equal(after.data, before.data);
    buf_clear(&bytes);
    buf_clear(&before);
    buf_clear(&after);
    catalog_destroy(restored);
}

static void run_transcript(const char *path) {
    struct session session = {.epoch = epoch_create(), .watches = watches_create()};
    session.catalog = catalog_create(session.epoch, session.watches);
    session.twin = catalog_create(session.epoch, NULL);
    transcript_run(path, &session.out, run_command, &session);
    expect_restored(&session);
    for (size_t i = 0; i < session.waiter_count; i++) {
        watches_leave(session.watches, &session.waiters[i]);
    }
    catalog_destroy(session.catalog);
    catalog_destroy(session.twin);
    watches_destroy(session.watches);
    epoch_destroy(session.epoch);
}

static void transcripts(void **state) {
    (void)state;
    transcript_run_all(PATTERN, 9, run_transcript);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(transcripts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
