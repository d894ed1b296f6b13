/* Sizes: limits, what is left of an answer that is too long, TC (contract 1.4), and the shuffle. */
#include "tests/unit/dns_support.h"

#define A DNS_TYPE_A
#define SRV DNS_TYPE_SRV

static int set_up(void **state) {
    *state = world_create();
    return 0;
}

static int tear_down(void **state) {
    world_destroy(*state);
    return 0;
}

/* Instances of `web`, each on a node and an address of its own. */
static void add_many(struct world *w, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char node[32], address[32], at[32];
        snprintf(node, sizeof node, "node%u", i);
        snprintf(address, sizeof address, "10.0.%u.%u", i / 250, i % 250);
        snprintf(at, sizeof at, "10.1.%u.%u", i / 250, i % 250);
        world_add(w, (struct entry){.node = node,
                                    .address = address,
                                    .service = "web",
                                    .service_address = at,
                                    .port = 1000 + i});
    }
}

static const char *ask(struct world *w, unsigned type, unsigned edns, bool tcp) {
    return world_ask(
        w, (struct ask){.name = "web.service.consul", .type = type, .edns = edns, .tcp = tcp});
}

/* The additional section has the address of each target, once, and nothing else but OPT. */
static void check_srv_glue(const char *text) {
    unsigned answers = 0;
    for (const char *at = strstr(text, "ans "); at != NULL; at = strstr(at + 1, "\nans ")) {
        char target[300], line[320];
        const char *srv = strstr(at, " SRV 1 1 ");
        assert_non_null(srv);
        assert_int_equal(sscanf(srv, " SRV 1 1 %*u %299s", target), 1);
        snprintf(line, sizeof line, "\nadd %s 0 A ", target);
        assert_int_equal(count_lines(text, line), 1);
        answers++;
    }
    assert_int_equal(count_lines(text, "\nadd "), answers);
}

static void without_edns(void **state) {
    struct world *w = *state;
    add_many(w, 10);
    assert_int_equal(count_lines(ask(w, A, 0, false), "ans"), 3);
    assert_null(strstr(w->text, " tc"));
    assert_int_equal(count_lines(ask(w, A, 512, false), "ans"), 3);
    assert_int_equal(count_lines(w->text, "opt 512"), 1);
    assert_int_equal(count_lines(ask(w, A, 100, false), "ans"), 3);
    w->config.enable_truncate = true;
    world_reconfigure(w);
    assert_int_equal(count_lines(ask(w, A, 0, false), "ans"), 3);
    assert_non_null(strstr(w->text, " tc"));
    assert_int_equal(count_lines(ask(w, A, 1232, false), "ans"), 10);
    assert_null(strstr(w->text, " tc"));
    assert_int_equal(count_lines(ask(w, A, 0, true), "ans"), 10);
    assert_null(strstr(w->text, " tc"));
    w->config.udp_answer_limit = 20;
    world_reconfigure(w);
    assert_int_equal(count_lines(ask(w, A, 0, false), "ans"), LIMIT_DNS_PLAIN_ANSWERS);
    w->config.udp_answer_limit = 0;
    world_reconfigure(w);
    assert_string_equal(ask(w, A, 0, false), "NOERROR aa tc\n");
    assert_int_equal(count_lines(ask(w, A, 513, false), "ans"), 10);
}

static void plain_answers_are_judged_uncompressed(void **state) {
    struct world *w = *state;
    add_many(w, 12);
    w->config.udp_answer_limit = 8;
    /* Header and question 36, an SRV record with its target 20 + 10 + 6 + 26, its address 26 + 14:
     * four are 444 bytes, five would be 546 > 504. */
    assert_int_equal(count_lines(ask(w, SRV, 0, false), "ans"), 4);
    check_srv_glue(w->text);
    size_t compressed = w->out_bytes;
    w->config.disable_compression = true;
    world_reconfigure(w);
    assert_int_equal(count_lines(ask(w, SRV, 0, false), "ans"), 4);
    assert_int_equal(w->out_bytes, 36 + 4 * (20 + 10 + 6 + 26 + 26 + 14));
    assert_true(compressed < w->out_bytes);
}

static void with_edns(void **state) {
    struct world *w = *state;
    add_many(w, 300);
    const unsigned sizes[] = {600, 1232, 1400, 4096};
    for (unsigned i = 0; i < 4; i++) {
        /* As many as fit: 36 bytes before them, OPT's 11 after, 8 for the UDP header. */
        unsigned want = (sizes[i] - 8 - 36 - 11) / 16;
        assert_int_equal(count_lines(ask(w, A, sizes[i], false), "ans"), want);
        assert_int_equal(count_lines(w->text, "opt "), 1);
        assert_null(strstr(w->text, " tc"));
        /* 2 + 10 + 6 + 26 and 2 + 14 */
        want = (sizes[i] - 8 - 36 - 11) / 60;
        assert_int_equal(count_lines(ask(w, SRV, sizes[i], false), "ans"), want);
        assert_int_equal(count_lines(w->text, "opt "), 1);
        check_srv_glue(w->text);
    }
    w->config.enable_truncate = true;
    world_reconfigure(w);
    assert_non_null(strstr(ask(w, A, 1232, false), " tc"));
    assert_null(strstr(ask(w, A, 65535, false), " tc"));
    assert_int_equal(count_lines(w->text, "ans"), 300);
}

static void long_answers(void **state) {
    struct world *w = *state;
    w->config.enable_truncate = true;
    add_many(w, 4500);
    assert_int_equal(count_lines(ask(w, A, 0, true), "ans"), (LIMIT_DNS_TCP_BYTES - 36) / 16);
    assert_non_null(strstr(w->text, " tc"));
    assert_true(w->out_bytes <= LIMIT_DNS_TCP_BYTES);
    assert_int_equal(count_lines(ask(w, A, 65535, false), "ans"),
                     (LIMIT_DNS_UDP_BYTES_MAX - 8 - 36 - 11) / 16);
    /* Targets behind the reach of pointers are written out; all are still there. */
    ask(w, SRV, 65535, false);
    assert_true(w->out_bytes <= LIMIT_DNS_UDP_BYTES_MAX - 8);
    assert_true(count_lines(w->text, "ans") > 800);
    check_srv_glue(w->text);
}

static void srv_count_over_tcp(void **state) {
    struct world *w = *state;
    w->config.enable_truncate = true;
    /* Short targets and one of them for all, so that the count ends it and not the size. */
    for (unsigned i = 0; i < 1500; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%u", i);
        world_add(w,
                  (struct entry){
                      .node = "n", .address = "10.0.0.1", .service = "web", .id = id, .port = i});
    }
    assert_int_equal(count_lines(ask(w, SRV, 0, true), "ans"), LIMIT_DNS_TCP_SRV_ANSWERS);
    assert_null(strstr(w->text, " tc"));
    assert_int_equal(count_lines(w->text, "\nadd n.node.dc1.consul. 0 A 10.0.0.1\n"), 1);
}

static void metadata_gives_way(void **state) {
    struct world *w = *state;
    struct str_pair meta[40];
    char keys[40][16];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%02d", i);
        meta[i] = (struct str_pair){keys[i], "a value of some length for each of them"};
    }
    world_add(w,
              (struct entry){.node = "n1", .address = "10.0.0.1", .meta = meta, .meta_count = 40});
    struct ask one = {.name = "n1.node.consul", .type = A};
    world_ask(w, one);
    assert_true(w->out_bytes <= 504);
    assert_int_equal(count_lines(w->text, "ans"), 1);
    assert_true(count_lines(w->text, "add") > 0);
    assert_null(strstr(w->text, " tc"));
    one.edns = 1232;
    world_ask(w, one);
    assert_true(w->out_bytes <= 1224);
    assert_int_equal(count_lines(w->text, "opt"), 1);
    one.edns = 4096;
    assert_int_equal(count_lines(world_ask(w, one), "add"), 40);
    one.tcp = true;
    assert_int_equal(count_lines(world_ask(w, one), "add"), 40);
    /* A node's metadata as an answer obeys the answer limits. */
    one = (struct ask){.name = "n1.node.consul", .type = DNS_TYPE_TXT};
    assert_int_equal(count_lines(world_ask(w, one), "ans"), 3);
    /* Many SRV records: the metadata goes first, then answers. */
    for (unsigned i = 0; i < 5; i++) {
        char node[16], address[16];
        snprintf(node, sizeof node, "m%u", i);
        snprintf(address, sizeof address, "10.0.1.%u", i);
        world_add(w, (struct entry){.node = node,
                                    .address = address,
                                    .meta = meta,
                                    .meta_count = 40,
                                    .service = "web"});
    }
    w->config.enable_truncate = true;
    world_reconfigure(w);
    assert_int_equal(count_lines(ask(w, SRV, 1232, false), "ans"), 5);
    assert_null(strstr(w->text, " tc"));
    check_srv_glue(w->text);
}

static void a_record_limit(void **state) {
    struct world *w = *state;
    add_many(w, 10);
    w->config.a_record_limit = 2;
    assert_int_equal(count_lines(ask(w, A, 1232, false), "ans"), 2);
    assert_int_equal(count_lines(ask(w, A, 0, true), "ans"), 2);
    assert_int_equal(count_lines(ask(w, DNS_TYPE_ANY, 1232, false), "ans"), 2);
    assert_int_equal(count_lines(ask(w, SRV, 1232, false), "ans"), 10);
    assert_string_equal(ask(w, DNS_TYPE_AAAA, 0, false), "NOERROR aa\n" SOA_LINE);
}

static void doubles_in_long_answers(void **state) {
    struct world *w = *state;
    for (unsigned i = 0; i < 200; i++) {
        char node[32], at[32];
        snprintf(node, sizeof node, "node%u", i);
        snprintf(at, sizeof at, "10.1.0.%u", i % 60);
        world_add(
            w, (struct entry){
                   .node = node, .address = "10.0.0.1", .service = "web", .service_address = at});
    }
    for (int round = 0; round < 3; round++) {
        assert_int_equal(count_lines(ask(w, A, 4096, false), "ans"), 60);
        /* By node, address and port all differ, but they share 60 targets. */
        assert_int_equal(count_lines(ask(w, SRV, 65535, false), "ans"), 200);
        assert_int_equal(count_lines(w->text, "\nadd"), 60);
    }
}

static void every_order_comes_up(void **state) {
    struct world *w = *state;
    add_many(w, 10);
    unsigned first[10] = {0};
    for (int i = 0; i < 2000; i++) {
        unsigned last_octet = 0;
        const char *at = strstr(ask(w, A, 1232, false), " A 10.1.0.");
        assert_non_null(at);
        assert_int_equal(sscanf(at, " A 10.1.0.%u", &last_octet), 1);
        first[last_octet]++;
    }
    /* 200 each; the standard deviation is 13.4, and the seed is fixed. */
    for (int i = 0; i < 10; i++) {
        assert_in_range(first[i], 140, 260);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_edns),
        TEST(plain_answers_are_judged_uncompressed),
        TEST(with_edns),
        TEST(long_answers),
        TEST(srv_count_over_tcp),
        TEST(metadata_gives_way),
        TEST(a_record_limit),
        TEST(doubles_in_long_answers),
        TEST(every_order_comes_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
