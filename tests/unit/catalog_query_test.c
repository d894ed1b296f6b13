/* Prepared queries: definitions to rows and back, templates, names, what ends with a session, and
 * what a query finds. */
#include "tests/unit/catalog_support.h"

#include <stdio.h>

#include "catalog/query.h"
#include "catalog/row.h"

#define ID_A "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
#define ID_B "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"
#define ID_C "cccccccc-cccc-cccc-cccc-cccccccccccc"
#define SESSION "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee"

struct world {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog;
    struct arena arena;
    struct err_text text;
    uint64_t index;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    w->epoch = epoch_create();
    w->watches = watches_create();
    w->catalog = catalog_create(w->epoch, w->watches);
    arena_init(&w->arena);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    arena_clear(&w->arena);
    catalog_destroy(w->catalog);
    watches_destroy(w->watches);
    epoch_destroy(w->epoch);
    free(w);
    return 0;
}

static enum err apply(struct world *w, const struct catalog_command *command) {
    w->text.s[0] = '\0';
    enum err err = apply_command(w->catalog, ++w->index, command, &w->text);
    catalog_publish(w->catalog);
    return err;
}

static struct catalog_query parse(struct world *w, const char *json) {
    struct catalog_query query = {.id = ""};
    w->text.s[0] = '\0';
    if (query_parse(json, strlen(json), &w->arena, &query, &w->text) != ERR_OK) {
        fail_msg("%s: %s", json, w->text.s);
    }
    return query;
}

static enum err set(struct world *w, enum catalog_query_verb verb, const char *id,
                    const char *json) {
    struct catalog_command command = {.kind = COMMAND_QUERY, .set_query = {.verb = verb}};
    if (json != NULL) {
        command.set_query.query = parse(w, json);
    }
    command.set_query.query.id = id;
    return apply(w, &command);
}

static const struct catalog_view *view_of(const struct world *w) {
    return catalog_view(w->catalog);
}

static const char *found(struct world *w, const char *name) {
    const struct catalog_query *query = view_find_query(view_of(w), name);
    return query != NULL ? query->name : "nothing";
}

static const char *written(struct world *w, const struct catalog_query *query) {
    struct buf out;
    struct json json;
    buf_init(&out, 1 << 20);
    json_init(&json, &out, false);
    query_write(&json, query);
    const char *text = arena_strndup(&w->arena, out.data, out.count);
    buf_clear(&out);
    return text;
}

/* ---- definitions ---- */

#define WHOLE                                                                                      \
    "{\"ID\":\"" ID_A "\",\"Name\":\"w-\",\"Session\":\"\",\"Token\":\"t\",\"Template\":{"         \
    "\"Type\":\"name_prefix_match\",\"Regexp\":\"^w-(.*)$\",\"RemoveEmptyTags\":true},"            \
    "\"Service\":{\"Service\":\"web\",\"SamenessGroup\":\"\",\"Failover\":{\"NearestN\":3,"        \
    "\"Datacenters\":[\"dc2\",\"dc3\"],\"Targets\":null},\"OnlyPassing\":true,"                    \
    "\"IgnoreCheckIDs\":[\"c\"],\"Near\":\"_agent\",\"Tags\":[\"a\",\"!b\"],\"NodeMeta\":"         \
    "{\"k\":\"v\"},\"ServiceMeta\":{\"x\":\"y\"},\"Connect\":true,\"Peer\":\"\"},"                 \
    "\"DNS\":{\"TTL\":\"10s\"},\"CreateIndex\":1,\"ModifyIndex\":1}"
#define EMPTY                                                                                      \
    "{\"ID\":\"" ID_B "\",\"Name\":\"e\",\"Session\":\"\",\"Token\":\"\",\"Template\":{"           \
    "\"Type\":\"\",\"Regexp\":\"\",\"RemoveEmptyTags\":false},"                                    \
    "\"Service\":{\"Service\":\"web\",\"SamenessGroup\":\"\",\"Failover\":{\"NearestN\":0,"        \
    "\"Datacenters\":[],\"Targets\":[]},\"OnlyPassing\":false,"                                    \
    "\"IgnoreCheckIDs\":[],\"Near\":\"\",\"Tags\":[],\"NodeMeta\":"                                \
    "{},\"ServiceMeta\":{},\"Connect\":false,\"Peer\":\"\"},"                                      \
    "\"DNS\":{\"TTL\":\"\"},\"CreateIndex\":2,\"ModifyIndex\":2}"
#define NULLS                                                                                      \
    "{\"ID\":\"" ID_C "\",\"Name\":\"n\",\"Session\":\"\",\"Token\":\"\",\"Template\":{"           \
    "\"Type\":\"\",\"Regexp\":\"\",\"RemoveEmptyTags\":false},"                                    \
    "\"Service\":{\"Service\":\"web\",\"SamenessGroup\":\"\",\"Failover\":{\"NearestN\":0,"        \
    "\"Datacenters\":null,\"Targets\":null},\"OnlyPassing\":false,"                                \
    "\"IgnoreCheckIDs\":null,\"Near\":\"\",\"Tags\":null,\"NodeMeta\":"                            \
    "null,\"ServiceMeta\":null,\"Connect\":false,\"Peer\":\"\"},"                                  \
    "\"DNS\":{\"TTL\":\"\"},\"CreateIndex\":3,\"ModifyIndex\":3}"

/* What was sent is what is shown, null and [] told apart, also after a snapshot. */
static void rows_keep_everything(void **state) {
    struct world *w = *state;
    const struct { const char *id, *json; } rows[] = {{ID_A, WHOLE}, {ID_B, EMPTY}, {ID_C, NULLS}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(set(w, QUERY_CREATE, rows[i].id, rows[i].json), ERR_OK);
    }
    struct buf stream;
    buf_init(&stream, 1 << 20);
    assert_int_equal(catalog_snapshot(view_of(w), keep, &stream), ERR_OK);
    struct epoch *epoch = epoch_create();
    struct catalog *copy = catalog_create(epoch, NULL);
    struct source source = {.data = stream.data, .count = stream.count};
    assert_int_equal(catalog_restore(copy, give, &source, &w->text), ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(written(w, view_get_query(view_of(w), rows[i].id)), rows[i].json);
        assert_string_equal(written(w, view_get_query(catalog_view(copy), rows[i].id)),
                            rows[i].json);
    }
    assert_int_equal(view_row_hash(view_of(w)), view_row_hash(catalog_view(copy)));
    assert_int_equal(view_index_queries(catalog_view(copy)), 3);
    assert_string_equal(view_find_query(catalog_view(copy), "W-x")->id, ID_A);
    /* A target is no datacenter in the list. */
    struct catalog_query targets =
        parse(w, "{\"Name\":\"t\",\"Service\":{\"Service\":\"s\",\"Failover\":{\"Targets\":"
                 "[{\"Datacenter\":\"dc4\"}]}}}");
    assert_non_null(strstr(written(w, &targets),
                           "\"Datacenters\":null,\"Targets\":[{\"Peer\":\"\",\"Datacenter\":"
                           "\"dc4\"}]"));
    catalog_destroy(copy);
    epoch_destroy(epoch);
    buf_clear(&stream);
}

/* Each field counts in the hash by which servers are compared. */
static void every_field_is_hashed(void **state) {
    struct world *w = *state;
    struct catalog_query query = parse(w, WHOLE);
    uint64_t hash = row_hash_query(&query);
    const char **strings[] = {&query.id,      &query.name,          &query.session,
                              &query.token,   &query.template_type, &query.template_regexp,
                              &query.service, &query.near_node,     &query.dns_ttl};
    bool *flags[] = {
        &query.remove_empty_tags,      &query.datacenters_present, &query.targets_present,
        &query.ignored_checks_present, &query.tags_present,        &query.node_meta.present,
        &query.service_meta.present,   &query.only_passing,        &query.connect};
    uint64_t *numbers[] = {(uint64_t *)&query.nearest, &query.create_index, &query.modify_index};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        const char *before = *strings[i];
        *strings[i] = "other";
        assert_int_not_equal(row_hash_query(&query), hash);
        *strings[i] = before;
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        *flags[i] = !*flags[i];
        assert_int_not_equal(row_hash_query(&query), hash);
        *flags[i] = !*flags[i];
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] += 1;
        assert_int_not_equal(row_hash_query(&query), hash);
        *numbers[i] -= 1;
    }
    assert_int_equal(row_hash_query(&query), hash);
}

/* ---- templates ---- */

struct text {
    const char *text, *want; /* "!..." = a part of the error */
};

static void templates_are_rendered(void **state) {
    struct world *w = *state;
    static const struct text texts[] = {
        {"web", "web"},
        {"", ""},
        {"a$b", "a$b"},
        {"a$", "a$"},
        {"$${x}", "${x}"},
        {"${name.full}", "geo-db-eu"},
        {"${ name.prefix }|${name.suffix}", "geo-|db-eu"},
        {"${agent.segment}", ""},
        {"${match(0)}", "geo-db-eu"},
        {"${match(1)}.${match( 2 )}", "db.eu"},
        {"${match(3)}${match(-1)}${match(99)}", ""},
        {"${match(\"1\")}", "db"},
        {"${40 + 2}", "42"},
        {"${2 + 3 * 4 - 10 / 3 % 2}", "13"},
        {"${(2 + 3) * -4}", "-20"},
        {"${--3}", "3"},
        {"${\"a}b\"}", "a}b"},
        {"${\"<${name.suffix}>\"}", "<db-eu>"},
        {"${\"x\\\"y\\\\\"}", "x\"y\\"},
        {"${1.50}", "1.50"},
        {"${9223372036854775 * 1000 + 807 + 1}", "-9223372036854775808"}, /* wraps around */
        {"${", "!Bad format '${' in Service.Service: expected an expression"},
        {"${name.full", "!is not closed"},
        {"${name.full name.full}", "!expected '}'"},
        {"${name.nope}", "!unknown variable accessed: name.nope"},
        {"${nope(1)}", "!unknown function called: nope"},
        {"${match}", "!match wants"},
        {"${match(1}", "!match wants"},
        {"${match(\"x\")}", "!\"x\" is no number"},
        {"${1 / 0}", "!divide by zero"},
        {"${1 +}", "!expected an expression"},
        {"${\"a}", "!is not closed"},
        {"${\"\\q\"}", "!escape"},
        {"${1234567890123456789}", "!more than 18 digits"},
        {"${}", "!expected an expression"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct catalog_query out, query = {.name = "geo-",
                                           .template_type = "name_prefix_match",
                                           .template_regexp = "^geo-(.*?)-([^-]+?)$",
                                           .service = texts[i].text,
                                           .near_node = ""};
        struct err_text text = {""};
        enum err err = query_render(&query, "geo-db-eu", &w->arena, &out, &text);
        if (texts[i].want[0] == '!' && (err != ERR_REFUSED || !strstr(text.s, texts[i].want + 1))) {
            fail_msg("%s: %s", texts[i].text, text.s);
        } else if (texts[i].want[0] != '!' &&
                   (err != ERR_OK || strcmp(out.service, texts[i].want) != 0)) {
            fail_msg("%s: %s, %s", texts[i].text, err == ERR_OK ? out.service : "", text.s);
        }
    }
}

static void every_text_of_a_template_counts(void **state) {
    struct world *w = *state;
    struct catalog_query out, query = parse(w, "{\"Name\":\"a-\",\"Template\":{\"Type\":\"name_"
                                               "prefix_match\",\"RemoveEmptyTags\":true},"
                                               "\"Service\":{\"Service\":\"${name.suffix}1\","
                                               "\"Near\":\"${name.suffix}2\",\"Failover\":{"
                                               "\"Datacenters\":[\"${name.suffix}3\"]},"
                                               "\"IgnoreCheckIDs\":[\"${name.suffix}4\"],"
                                               "\"Tags\":[\"${match(1)}\",\"${name.suffix}5\"],"
                                               "\"NodeMeta\":{\"k\":\"${name.suffix}6\"},"
                                               "\"ServiceMeta\":{\"k\":\"${name.suffix}7\"}}}");
    assert_int_equal(query_render(&query, "a-x", &w->arena, &out, &w->text), ERR_OK);
    assert_string_equal(out.service, "x1");
    assert_string_equal(out.near_node, "x2");
    assert_string_equal(out.datacenters.v[0], "x3");
    assert_string_equal(out.ignored_checks.v[0], "x4");
    assert_int_equal(out.tags.count, 1); /* the empty one is gone */
    assert_string_equal(out.tags.v[0], "x5");
    assert_string_equal(out.node_meta.v[0].value, "x6");
    assert_string_equal(out.service_meta.v[0].value, "x7");
    /* The prefix is cut off in its own letters only. */
    assert_int_equal(query_render(&query, "A-x", &w->arena, &out, &w->text), ERR_OK);
    assert_string_equal(out.service, "A-x1");
}

/* A small definition must not become a large answer, nor a deep one overflow the stack. */
static void templates_are_bounded(void **state) {
    struct world *w = *state;
    char *many = arena_alloc(&w->arena, 60001), *name = arena_alloc(&w->arena, 2001);
    for (int i = 0; i < 5000; i++) {
        memcpy(many + 12 * i, "${name.full}", 12);
    }
    memset(name, 'n', 2000);
    struct catalog_query out, query = {.name = "",
                                       .template_type = "name_prefix_match",
                                       .template_regexp = "",
                                       .service = many,
                                       .near_node = ""};
    assert_int_equal(query_render(&query, name, &w->arena, &out, &w->text), ERR_REFUSED);
    assert_non_null(strstr(w->text.s, "comes to more than"));
    char *deep = arena_alloc(&w->arena, 60001);
    memset(deep, '(', 60000);
    memcpy(deep, "${", 2);
    query.service = deep;
    assert_int_equal(query_render(&query, name, &w->arena, &out, &w->text), ERR_REFUSED);
    assert_non_null(strstr(w->text.s, "too many levels"));
    query.service = "x";
    query.template_regexp = "^(n*)*[xy]$";
    assert_int_equal(query_render(&query, name, &w->arena, &out, &w->text), ERR_REFUSED);
    assert_non_null(strstr(w->text.s, "takes too long"));
}

/* ---- names ---- */

#define PLAIN(name) "{\"Name\":\"" name "\",\"Service\":{\"Service\":\"web\"}}"
#define TEMPLATE(name)                                                                             \
    "{\"Name\":\"" name "\",\"Template\":{\"Type\":\"name_prefix_match\"},"                        \
    "\"Service\":{\"Service\":\"${name.full}\"}}"

static void the_longest_template_stands_for_a_name(void **state) {
    struct world *w = *state;
    assert_string_equal(found(w, "x"), "nothing");
    assert_int_equal(set(w, QUERY_CREATE, ID_A, TEMPLATE("Geo-")), ERR_OK);
    assert_int_equal(set(w, QUERY_CREATE, ID_B, TEMPLATE("geo-db-")), ERR_OK);
    assert_int_equal(set(w, QUERY_CREATE, ID_C, PLAIN("geo-db")), ERR_OK);
    assert_string_equal(found(w, "GEO-db-1"), "geo-db-");
    assert_string_equal(found(w, "geo-db"), "geo-db"); /* its own */
    assert_string_equal(found(w, "geo-db1"), "Geo-");  /* a plain name is no prefix */
    assert_string_equal(found(w, "geo-"), "Geo-");
    assert_string_equal(found(w, "geo"), "nothing");
    /* One without a name catches all that is left. */
    assert_int_equal(set(w, QUERY_UPDATE, ID_B, TEMPLATE("")), ERR_OK);
    assert_string_equal(found(w, "geo-db-1"), "Geo-");
    assert_string_equal(found(w, "other"), "");
    assert_int_equal(set(w, QUERY_CREATE, SESSION, TEMPLATE("")), ERR_REFUSED);
    assert_string_equal(w->text.s, "raft apply failed: a query template with an empty name "
                                   "already exists");
    assert_int_equal(set(w, QUERY_CREATE, SESSION, PLAIN("GEO-")), ERR_REFUSED);
    assert_string_equal(w->text.s, "raft apply failed: name 'GEO-' aliases an existing query name");
    assert_int_equal(set(w, QUERY_CREATE, SESSION, PLAIN(ID_A)), ERR_REFUSED);
    assert_int_equal(set(w, QUERY_UPDATE, ID_A, PLAIN("gEO-")), ERR_OK); /* itself */
    assert_int_equal(view_get_query(view_of(w), ID_A)->create_index, 1);
    assert_string_equal(found(w, "geo-db-1"), "");
    assert_int_equal(set(w, QUERY_DELETE, ID_B, NULL), ERR_OK);
    assert_string_equal(found(w, "geo-db-1"), "nothing");
    assert_int_equal(set(w, QUERY_DELETE, ID_B, NULL), ERR_REFUSED);
    assert_string_equal(w->text.s, "Cannot modify non-existent prepared query: '" ID_B "'");
}

static void by_id_or_by_name(void **state) {
    struct world *w = *state;
    struct catalog_query query;
    assert_int_equal(set(w, QUERY_CREATE, ID_A, TEMPLATE("a")), ERR_OK);
    assert_int_equal(set(w, QUERY_CREATE, ID_B, PLAIN("b")), ERR_OK);
    assert_int_equal(query_find(view_of(w), ID_B, &w->arena, &query, &w->text), ERR_OK);
    assert_int_equal(query_find(view_of(w), "B", &w->arena, &query, &w->text), ERR_OK);
    assert_int_equal(query_find(view_of(w), "ax", &w->arena, &query, &w->text), ERR_OK);
    assert_string_equal(query.service, "ax");
    assert_int_equal(query_find(view_of(w), ID_A, &w->arena, &query, &w->text), ERR_REFUSED);
    assert_int_equal(query_find(view_of(w), ID_C, &w->arena, &query, &w->text), ERR_NOT_FOUND);
    assert_int_equal(query_find(view_of(w), "", &w->arena, &query, &w->text), ERR_NOT_FOUND);
}

/* ---- sessions ---- */

static void make_session(struct world *w) {
    struct catalog_node node = node_row("n", "10.0.0.1");
    struct catalog_command command = {.kind = COMMAND_REGISTER, .reg = {.node = node}};
    assert_int_equal(apply(w, &command), ERR_OK);
    command = (struct catalog_command){
        .kind = COMMAND_SESSION,
        .session = {.id = SESSION, .name = "", .node = "n", .behavior = "release", .ttl = ""}};
    assert_int_equal(apply(w, &command), ERR_OK);
}

#define BOUND "{\"Session\":\"" SESSION "\",\"Service\":{\"Service\":\"web\"}}"

static void a_query_ends_with_its_session(void **state) {
    struct world *w = *state;
    struct waiter waiter = {.next = NULL};
    assert_int_equal(set(w, QUERY_CREATE, ID_A, BOUND), ERR_REFUSED);
    assert_string_equal(w->text.s, "raft apply failed: invalid session \"" SESSION "\"");
    make_session(w);
    assert_int_equal(set(w, QUERY_CREATE, ID_A, BOUND), ERR_OK);
    assert_int_equal(set(w, QUERY_CREATE, ID_B, BOUND), ERR_OK);
    assert_int_equal(set(w, QUERY_CREATE, ID_C, PLAIN("stays")), ERR_OK);
    uint64_t hash = view_row_hash(view_of(w));

    /* A transaction that is taken back brings them back. */
    struct catalog_operation operations[] = {
        {.kind = ROW_NODE, .verb = ROW_DELETE, .node = node_row("n", "10.0.0.1")},
        {.kind = ROW_NODE, .verb = ROW_GET, .node = node_row("n", "10.0.0.1")}};
    struct catalog_command txn = {.kind = COMMAND_TRANSACTION, .transaction = {operations, 2}};
    apply(w, &txn);
    assert_int_equal(view_row_hash(view_of(w)), hash);
    assert_non_null(view_get_query(view_of(w), ID_A));

    watches_join(w->watches, WATCH_QUERY, ID_A, "one", &waiter);
    while (watches_take_dirty(w->watches) != NULL) {
    }
    struct catalog_command end = {.kind = COMMAND_SESSION_END, .session_id = SESSION};
    assert_int_equal(apply(w, &end), ERR_OK);
    assert_null(view_get_query(view_of(w), ID_A));
    assert_null(view_get_query(view_of(w), ID_B));
    assert_non_null(view_get_query(view_of(w), ID_C));
    assert_int_equal(view_index_queries(view_of(w)), w->index);
    assert_string_equal(watch_group_query(watches_take_dirty(w->watches)), "one");
    watches_leave(w->watches, &waiter);
}

/* ---- what is found ---- */

static void add_instance(struct world *w, const char *name, const char *rack, const char *tag,
                         const char *status) {
    struct str_pair meta = {"rack", rack};
    const char *tags[] = {tag};
    struct catalog_service service = service_row(name, "web", "web");
    struct catalog_check check = check_row(name, "c", "web", status);
    service.tags = (struct str_list){tags, 1};
    service.meta = (struct str_map){&meta, 1, true};
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = node_row(name, "10.0.0.1"),
                                              .service = &service,
                                              .checks = &check,
                                              .check_count = 1}};
    command.reg.node.meta = service.meta;
    assert_int_equal(apply(w, &command), ERR_OK);
}

/* Names of the nodes, in order of the letters. */
static const char *selected(struct world *w, const char *service) {
    struct rand rand;
    struct query_instances found_ones;
    struct catalog_query query =
        parse(w, arena_format(&w->arena, "{\"Name\":\"x\",\"Service\":{\"Service\":\"web\"%s}}",
                              service));
    char *out = arena_alloc(&w->arena, 64);
    rand_init(&rand, 1);
    query_select(view_of(w), &query, &rand, &w->arena, &found_ones);
    for (char name = 'a'; name <= 'e'; name++) {
        for (size_t i = 0; i < found_ones.count; i++) {
            if (found_ones.v[i]->node->name[0] == name) {
                out[strlen(out)] = name;
            }
        }
    }
    return out;
}

static void instances_are_selected(void **state) {
    struct world *w = *state;
    add_instance(w, "a", "1", "V1", "passing");
    add_instance(w, "b", "1", "v2", "warning");
    add_instance(w, "c", "2", "v1", "critical");
    add_instance(w, "d", "2", "v2", "passing");
    assert_string_equal(selected(w, ""), "abd");
    assert_string_equal(selected(w, ",\"OnlyPassing\":true"), "ad");
    assert_string_equal(selected(w, ",\"IgnoreCheckIDs\":[\"c\"]"), "abcd");
    assert_string_equal(selected(w, ",\"OnlyPassing\":true,\"IgnoreCheckIDs\":[\"c\"]"), "abcd");
    assert_string_equal(selected(w, ",\"Tags\":[\"v1\"]"), "a");
    assert_string_equal(selected(w, ",\"Tags\":[\"!V1\"]"), "bd");
    assert_string_equal(selected(w, ",\"Tags\":[\"v1\",\"v2\"]"), "");
    assert_string_equal(selected(w, ",\"Tags\":[\"\"]"), "");
    assert_string_equal(selected(w, ",\"NodeMeta\":{\"rack\":\"2\"}"), "d");
    assert_string_equal(selected(w, ",\"ServiceMeta\":{\"rack\":\"1\"}"), "ab");
    assert_string_equal(selected(w, ",\"ServiceMeta\":{\"none\":\"1\"}"), "");
}

static void the_order_is_random_but_for_the_asker(void **state) {
    struct world *w = *state;
    struct rand rand;
    unsigned first[3] = {0};
    struct catalog_query query = parse(w, PLAIN("x"));
    add_instance(w, "a", "1", "t", "passing");
    add_instance(w, "b", "1", "t", "passing");
    add_instance(w, "c", "1", "t", "passing");
    rand_init(&rand, 3);
    for (unsigned i = 0; i < 300; i++) {
        struct query_instances found_ones;
        query_select(view_of(w), &query, &rand, &w->arena, &found_ones);
        first[found_ones.v[0]->node->name[0] - 'a']++;
        query_put_first(&found_ones, "B");
        assert_string_equal(found_ones.v[0]->node->name, "b");
        assert_int_equal(found_ones.count, 3);
        query_put_first(&found_ones, "elsewhere");
        assert_string_equal(found_ones.v[0]->node->name, "b");
    }
    assert_true(first[0] > 60 && first[1] > 60 && first[2] > 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(rows_keep_everything),   TEST(every_field_is_hashed),
        TEST(templates_are_rendered), TEST(every_text_of_a_template_counts),
        TEST(templates_are_bounded),  TEST(the_longest_template_stands_for_a_name),
        TEST(by_id_or_by_name),       TEST(a_query_ends_with_its_session),
        TEST(instances_are_selected), TEST(the_order_is_random_but_for_the_asker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
