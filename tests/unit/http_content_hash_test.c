/* The ContentHash of an agent's service (contract 5.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/request.h"

static struct catalog_service plain(void) {
    static const char *tags[] = {"bar", "baz"};
    return (struct catalog_service){.node = "n",
                                    .id = "foo",
                                    .name = "foo",
                                    .tags = {tags, 2},
                                    .address = "",
                                    .port = 8000,
                                    .socket_path = "",
                                    .weight_passing = 1,
                                    .weight_warning = 1,
                                    .kind = "",
                                    .region = "",
                                    .zone = "",
                                    .proxy = "",
                                    .connect = ""};
}

/* The constant of the wire's own tests. */
static void test_known_answer(void **state) {
    struct catalog_service service = plain();
    (void)state;
    assert_true(http_content_hash(&service) == 0x3e352f348d44f7ebULL);
}

static void test_each_field_counts(void **state) {
    struct catalog_service one = plain();
    uint64_t hash = http_content_hash(&one);
    static const char *swapped[] = {"baz", "bar"};
    struct str_pair meta[] = {{"k", "v"}};
    struct catalog_tagged_address tagged[] = {{"lan", "10.0.0.1", 80}};
    (void)state;
#define CHANGED(member, value)                                                                     \
    do {                                                                                           \
        struct catalog_service other = plain();                                                    \
        other.member = value;                                                                      \
        assert_true(http_content_hash(&other) != hash);                                            \
    } while (0)
    CHANGED(id, "x");
    CHANGED(name, "x");
    CHANGED(tags.v, swapped);
    CHANGED(tags.count, 1);
    CHANGED(address, "10.0.0.1");
    CHANGED(port, 1);
    CHANGED(socket_path, "/s");
    CHANGED(weight_passing, 2);
    CHANGED(weight_warning, 2);
    CHANGED(enable_tag_override, true);
    CHANGED(connect, "{\"Native\":true}");
    CHANGED(meta, ((struct str_map){meta, 1, true}));
    struct catalog_service other = plain();
    other.tagged_addresses = tagged;
    other.tagged_address_count = 1;
    assert_true(http_content_hash(&other) != hash);
    /* Where it stands does not. */
    other = plain();
    other.node = "elsewhere";
    other.region = "r";
    other.modify_index = 7;
    assert_true(http_content_hash(&other) == hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answer),
        cmocka_unit_test(test_each_field_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
