/* The indexes by address hold what a walk over all rows finds, whatever was registered, moved,
 * removed, published or restored. */
#include "tests/unit/catalog_support.h"

#include <stdio.h>

#include "base/ip.h"

#define ADDRESSES 6

static const char *const addresses[ADDRESSES] = {"10.0.0.1",    "10.0.0.2", "2001:db8::1",
                                                 "2001:DB8::2", "",         "host.example.com"};

struct found {
    const void *rows[64];
    unsigned count;
    const char *text; /* address to compare with */
};

static bool same_address(const char *a, const char *b) {
    uint8_t x[16], y[16], x_bytes, y_bytes;
    return ip_parse(a, x, &x_bytes) && ip_parse(b, y, &y_bytes) && x_bytes == y_bytes &&
           memcmp(x, y, x_bytes) == 0;
}

static bool find_node(const struct catalog_node *node, void *context) {
    struct found *found = context;
    if (found->text == NULL || same_address(found->text, node->address)) {
        found->rows[found->count++] = node;
    }
    return true;
}

static bool find_service(const struct catalog_service *service, void *context) {
    struct found *found = context;
    found->rows[found->count++] = service;
    return true;
}

static bool find_instance(const struct catalog_instance *instance, void *context) {
    struct found *found = context;
    if (same_address(found->text, instance->service->address)) {
        found->rows[found->count++] = instance->service;
    }
    return true;
}

static void expect_equal(const struct found *a, const struct found *b) {
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->rows, b->rows, a->count * sizeof a->rows[0]);
}

static unsigned check_indexes(const struct catalog *catalog) {
    const struct catalog_view *view = catalog_view(catalog);
    unsigned rows = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t ip[16], bytes;
        assert_true(ip_parse(addresses[i], ip, &bytes));
        struct found walked = {.text = addresses[i]}, indexed = {.text = NULL};
        view_walk_nodes(view, find_node, &walked);
        view_walk_nodes_at(view, ip, bytes, find_node, &indexed);
        expect_equal(&walked, &indexed);
        rows += walked.count;
        struct found services = {.text = addresses[i]}, by_address = {.text = NULL};
        view_walk_all_instances(view, find_instance, &services);
        view_walk_services_at(view, ip, bytes, find_service, &by_address);
        expect_equal(&services, &by_address);
        rows += services.count;
    }
    return rows;
}

static void change(struct catalog *catalog, struct rand *rand, uint64_t index) {
    static const char *const nodes[] = {"n1", "N1", "n2", "n3", "n4"};
    static const char *const services[] = {"web", "Web", "db"};
    static const char *const ids[] = {"a", "b", "B"};
    struct err_text text = {""};
    struct catalog_command command = {.kind = COMMAND_DEREGISTER};
    const char *node = nodes[rand_below(rand, 5)];
    uint64_t choice = rand_below(rand, 8);
    command.dereg = (struct catalog_deregister){node, choice == 0 ? "a" : "", ""};
    struct catalog_service row =
        service_row(node, ids[rand_below(rand, 3)], services[rand_below(rand, 3)]);
    row.address = addresses[rand_below(rand, ADDRESSES)];
    if (choice > 1) {
        command.kind = COMMAND_REGISTER;
        command.reg = (struct catalog_register){
            .node = node_row(node, addresses[rand_below(rand, ADDRESSES)]),
            .service = choice > 3 ? &row : NULL};
    }
    assert_int_equal(apply_command(catalog, index, &command, &text), ERR_OK);
}

static void indexes_follow_rows(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    struct catalog *other = catalog_create(epoch, NULL);
    struct rand rand;
    unsigned rows = 0;
    rand_init(&rand, 5);
    for (uint64_t i = 1; i <= 2000; i++) {
        change(catalog, &rand, i);
        catalog_publish(catalog);
        rows += check_indexes(catalog);
    }
    assert_true(rows > 2000);
    struct buf buf;
    buf_init(&buf, 1024 * 1024);
    assert_int_equal(catalog_snapshot(catalog_view(catalog), keep, &buf), ERR_OK);
    for (int round = 0; round < 2; round++) { /* into an empty one, and over what is there */
        struct source source = {.data = buf.data, .count = buf.count};
        assert_int_equal(catalog_restore(other, give, &source, NULL), ERR_OK);
        assert_int_equal(check_indexes(other), check_indexes(catalog));
        for (uint64_t i = 1; i <= 50; i++) {
            change(other, &rand, 2000 + i);
        }
        catalog_publish(other);
        check_indexes(other);
    }
    buf_clear(&buf);
    catalog_destroy(catalog);
    catalog_destroy(other);
    epoch_destroy(epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(indexes_follow_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
