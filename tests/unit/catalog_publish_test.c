/* The catalog and the agent's own registrations share one epoch. Each may close its batch while the
 * other has rows replaced but not yet published: those are still what readers see. */
#include "tests/unit/catalog_support.h"

#include "catalog/local.h"

static void set_local(struct local *local, const char *id, const char *address) {
    struct service_definition definition = {.token = "", .service = service_row("", id, id)};
    definition.service.address = address;
    local_set_service(local, &definition, false);
}

static void local_published_amid_a_batch_of_the_catalog(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    struct local *local = local_create(epoch, "a");
    struct catalog_node node = node_row("a", "10.0.0.1");
    assert_int_equal(apply_node(catalog, 1, &node), ERR_OK);
    catalog_publish(catalog);
    node.address = "10.0.0.2";
    assert_int_equal(apply_node(catalog, 2, &node), ERR_OK); /* replaces row and tree nodes */
    set_local(local, "web", "");
    local_publish(local);
    local_publish(local);
    epoch_enter(epoch);
    assert_string_equal(view_get_node(catalog_view(catalog), "a")->address, "10.0.0.1");
    catalog_publish(catalog);
    assert_string_equal(view_get_node(catalog_view(catalog), "a")->address, "10.0.0.2");
    epoch_exit(epoch);
    local_publish(local);
    catalog_publish(catalog);
    assert_int_equal(epoch_pending(epoch), 0);
    local_destroy(local);
    catalog_destroy(catalog);
    epoch_destroy(epoch);
}

static void catalog_published_amid_a_change_of_local(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    struct local *local = local_create(epoch, "a");
    set_local(local, "web", "10.0.0.1");
    local_publish(local);
    set_local(local, "web", "10.0.0.2");
    struct catalog_node node = node_row("a", "10.0.0.1");
    assert_int_equal(apply_node(catalog, 1, &node), ERR_OK);
    catalog_publish(catalog);
    catalog_publish(catalog);
    epoch_enter(epoch);
    assert_string_equal(local_get_service(local_view(local), "web")->address, "10.0.0.1");
    local_publish(local);
    assert_string_equal(local_get_service(local_view(local), "web")->address, "10.0.0.2");
    epoch_exit(epoch);
    local_publish(local);
    catalog_publish(catalog);
    assert_int_equal(epoch_pending(epoch), 0);
    local_destroy(local);
    catalog_destroy(catalog);
    epoch_destroy(epoch);
}

static int64_t read_garbage(void *context, void *data, size_t size) {
    (void)context;
    memset(data, 0x7f, size);
    return (int64_t)size;
}

static void a_failed_restore_amid_a_batch(void **state) {
    (void)state;
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    struct catalog_node node = node_row("a", "10.0.0.1");
    assert_int_equal(apply_node(catalog, 1, &node), ERR_OK);
    catalog_publish(catalog);
    node.address = "10.0.0.2";
    assert_int_equal(apply_node(catalog, 2, &node), ERR_OK);
    assert_int_equal(catalog_restore(catalog, read_garbage, NULL, NULL), ERR_CORRUPT);
    epoch_enter(epoch);
    assert_string_equal(view_get_node(catalog_view(catalog), "a")->address, "10.0.0.1");
    epoch_exit(epoch);
    catalog_publish(catalog);
    catalog_destroy(catalog);
    epoch_destroy(epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_published_amid_a_batch_of_the_catalog),
        cmocka_unit_test(catalog_published_amid_a_change_of_local),
        cmocka_unit_test(a_failed_restore_amid_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
