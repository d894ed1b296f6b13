/* Answers, compared as text: record types against kinds of name (contract 1.3), health, translation
 * and response codes. */
#include "tests/unit/dns_support.h"

#include "catalog/query.h"

#define A DNS_TYPE_A
#define AAAA DNS_TYPE_AAAA
#define ANY DNS_TYPE_ANY
#define SRV DNS_TYPE_SRV
#define TXT DNS_TYPE_TXT
#define SOA DNS_TYPE_SOA
#define NS DNS_TYPE_NS
#define MX 15

static int set_up(void **state) {
    *state = world_create();
    return 0;
}

static int tear_down(void **state) {
    world_destroy(*state);
    return 0;
}

static void intake(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1"});
    assert_string_equal(ASK(w, "n1.node.other", A), "REFUSED\n");
    assert_string_equal(ASK_EDNS(w, "n1.node.other", A), "REFUSED\nopt 1232 ext=0\n");
    assert_string_equal(ASK(w, "n1.node.consul", DNS_TYPE_AXFR), "NOTIMP aa\n");
    assert_string_equal(
        world_ask(w, (struct ask){.name = "n1.node.consul", .type = A, .flags = 0x0110}),
        "NOERROR aa rd cd\nans n1.node.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        world_ask(w, (struct ask){.name = "n1.node.consul", .type = A, .flags = 4 << 11 | 0x100}),
        "NOERROR aa op=4\nans n1.node.consul. 0 A 10.0.0.1\n");
    assert_string_equal(
        world_ask(w, (struct ask){.name = "n1.node.consul", .type = A, .flags = 5 << 11}),
        "NOTIMP op=5\nno question\n");
    uint8_t request[1024];
    struct ask ask = {.name = "n1.node.consul", .type = A, .edns = 1232};
    size_t bytes = ask_encode(&ask, request);
    request[bytes - 5] = 1; /* EDNS version */
    assert_true(world_answer(w, request, bytes, false, true) > 0);
    answer_format(w->out, w->out_bytes, w->text);
    assert_string_equal(w->text, "NOERROR\nopt 1232 ext=16777216\n"); /* BADVERS */
    request[5] = 2;
    assert_true(world_answer(w, request, bytes, false, true) > 0);
    answer_format(w->out, w->out_bytes, w->text);
    assert_string_equal(w->text, "FORMERR\nno question\n");
    request[2] = 0x80;
    assert_int_equal(world_answer(w, request, bytes, false, true), 0);
    assert_int_equal(world_answer(w, request, 11, false, true), 0);
}

static void without_a_leader_ever(void **state) {
    struct world *w = *state;
    const unsigned types[] = {A, SRV, SOA, NS};
    for (unsigned i = 0; i < 4; i++) {
        struct ask ask = {.name = "web.service.consul", .type = types[i], .not_ready = true};
        assert_string_equal(world_ask(w, ask), "SERVFAIL aa\n");
    }
    struct ask zone = {.name = "0a000001.addr.consul", .type = NS, .not_ready = true};
    assert_string_equal(world_ask(w, zone), "SERVFAIL aa\n");
    struct ask reverse = {.name = "1.0.0.10.in-addr.arpa", .type = 12, .not_ready = true};
    assert_string_equal(world_ask(w, reverse), "SERVFAIL aa\n");
    struct ask addr = {.name = "0a000001.addr.consul", .type = A, .not_ready = true};
    assert_string_equal(world_ask(w, addr), "NOERROR aa\nans 0a000001.addr.consul. 0 A 10.0.0.1\n");
}

static void node_types(void **state) {
    struct world *w = *state;
    struct str_pair meta[] = {{"az", "a"}, {"b", "2"}};
    world_add(w,
              (struct entry){.node = "N1", .address = "10.0.0.1", .meta = meta, .meta_count = 2});
    world_add(w, (struct entry){.node = "six", .address = "2001:db8::1"});
    world_add(w, (struct entry){.node = "dotted.name", .address = "10.0.0.2"});
    w->config.node_ttl_s = 7;
    assert_string_equal(ASK(w, "n1.NODE.consul", A), "NOERROR aa\n"
                                                     "ans n1.NODE.consul. 7 A 10.0.0.1\n"
                                                     "add n1.NODE.consul. 7 TXT \"az=a\"\n"
                                                     "add n1.NODE.consul. 7 TXT \"b=2\"\n");
    assert_string_equal(ASK(w, "n1.node.dc1.consul", ANY),
                        "NOERROR aa\n"
                        "ans n1.node.dc1.consul. 7 A 10.0.0.1\n"
                        "ans n1.node.dc1.consul. 7 TXT \"az=a\"\n"
                        "ans n1.node.dc1.consul. 7 TXT \"b=2\"\n");
    assert_string_equal(ASK(w, "n1.node.dc1.dc.consul", TXT),
                        "NOERROR aa\n"
                        "ans n1.node.dc1.dc.consul. 7 TXT \"az=a\"\n"
                        "ans n1.node.dc1.dc.consul. 7 TXT \"b=2\"\n");
    assert_string_equal(ASK(w, "six.node.consul", AAAA),
                        "NOERROR aa\nans six.node.consul. 7 AAAA 2001:db8::1\n");
    assert_string_equal(ASK(w, "six.node.consul", A), "NOERROR aa\n"); /* no SOA */
    assert_string_equal(ASK(w, "dotted.name.node.cairn", A),
                        "NOERROR aa\nans dotted.name.node.cairn. 7 A 10.0.0.2\n");
    assert_string_equal(ASK(w, "none.node.consul", SRV), "NOERROR aa\n");
    assert_string_equal(ASK(w, "n1.node.consul", MX), "NOERROR aa\n");
    assert_string_equal(ASK(w, "none.node.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "n1.node.dc2.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    world_reconfigure(w);
    w->config.enable_additional_node_meta_txt = false;
    assert_string_equal(ASK(w, "n1.node.consul", A),
                        "NOERROR aa\nans n1.node.consul. 7 A 10.0.0.1\n");
    assert_int_equal(count_lines(ASK(w, "n1.node.consul", ANY), "TXT"), 2);
}

static void node_meta_text(void **state) {
    struct world *w = *state;
    char big[401];
    memset(big, 'v', 400);
    big[400] = '\0';
    struct str_pair meta[] = {
        {" a b  ", "x`y=z"}, {"RFC1035-spf", "v=`1`"}, {"big", big}, {"k=`", ""}};
    world_add(w,
              (struct entry){.node = "n1", .address = "10.0.0.1", .meta = meta, .meta_count = 4});
    const char *text =
        world_ask(w, (struct ask){.name = "n1.node.consul", .type = TXT, .tcp = true});
    assert_int_equal(count_lines(text, "TXT \"` a b` ` =x``y=z\"\n"), 1);
    assert_int_equal(count_lines(text, "TXT \"v=`1`\"\n"), 1);
    assert_int_equal(count_lines(text, "TXT \"k`=``=\"\n"), 1);
    assert_int_equal(count_lines(text, "vvv\" \"vvv"), 1); /* strings hold 255 bytes */
}

static void service_addresses(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1", .service = "Web"});
    assert_string_equal(ASK(w, "wEb.service.consul", A),
                        "NOERROR aa\nans wEb.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "web.service.dc1.consul", ANY),
                        "NOERROR aa\nans web.service.dc1.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "web.service.consul", TXT),
                        "NOERROR aa\nans web.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "web.service.consul", AAAA), "NOERROR aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "web.service.consul", MX), "NOERROR aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "web.service.dc2.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "none.service.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "service.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "web.connect.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "web.query.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "web.query.Cairn", A),
                        "NXDOMAIN aa\nauth Cairn. 0 SOA ns.Cairn. hostmaster.Cairn. "
                        "1700000000 3600 600 86400 0\n");
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "web",
                                .service_address = "2001:db8::7"});
    assert_int_equal(count_lines(ASK_EDNS(w, "web.service.consul", ANY), "ans"), 2);
    assert_string_equal(ASK(w, "web.service.consul", AAAA),
                        "NOERROR aa\nans web.service.consul. 0 AAAA 2001:db8::7\n");
    /* The same address twice is one record. */
    world_add(w,
              (struct entry){.node = "n1", .address = "10.0.0.1", .service = "web", .id = "web2"});
    assert_int_equal(count_lines(ASK_EDNS(w, "web.service.consul", A), "ans"), 1);
}

static void service_tags(void **state) {
    struct world *w = *state;
    world_add(
        w, (struct entry){
               .node = "n1", .address = "10.0.0.1", .service = "db", .tags = {"primary", "V1.x"}});
    world_add(w, (struct entry){.node = "n2", .address = "10.0.0.2", .service = "db"});
    assert_string_equal(ASK(w, "primary.db.service.consul", A),
                        "NOERROR aa\nans primary.db.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "v1.X.db.service.consul", A),
                        "NOERROR aa\nans v1.X.db.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "primary.v1.x.db.service.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "none.db.service.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_int_equal(count_lines(ASK(w, "_db._tcp.service.consul", SRV), "ans"), 2);
    assert_int_equal(count_lines(ASK(w, "_db._primary.consul", SRV), "ans"), 1);
    assert_string_equal(ASK(w, "_db._udp.consul", SRV), "NXDOMAIN aa\n" SOA_LINE);
}

static void srv_targets(void **state) {
    struct world *w = *state;
    world_add(
        w, (struct entry){.node = "Node-1", .address = "10.0.0.1", .service = "web", .port = 80});
    assert_string_equal(ASK_EDNS(w, "web.service.CoNsUl", SRV),
                        "NOERROR aa\n"
                        "ans web.service.CoNsUl. 0 SRV 1 1 80 Node-1.node.dc1.CoNsUl.\n"
                        "add Node-1.node.dc1.CoNsUl. 0 A 10.0.0.1\n"
                        "opt 1232 ext=0\n");
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "api",
                                .service_address = "10.1.2.3",
                                .port = 443,
                                .weight_passing = 9,
                                .weight_warning = 3,
                                .status = "passing"});
    assert_string_equal(ASK(w, "api.service.consul", SRV),
                        "NOERROR aa\n"
                        "ans api.service.consul. 0 SRV 1 9 443 0a010203.addr.dc1.consul.\n"
                        "add 0a010203.addr.dc1.consul. 0 A 10.1.2.3\n");
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "api",
                                .service_address = "2001:db8::1",
                                .port = 443,
                                .weight_passing = 9,
                                .weight_warning = 3,
                                .status = "warning"});
    w->config.disable_compression = true;
    world_reconfigure(w);
    assert_string_equal(
        ASK(w, "api.service.consul", SRV),
        "NOERROR aa\nans api.service.consul. 0 SRV 1 3 443 "
        "20010db8000000000000000000000001.addr.dc1.consul.\n"
        "add 20010db8000000000000000000000001.addr.dc1.consul. 0 AAAA 2001:db8::1\n");
}

static void srv_doubles_and_meta(void **state) {
    struct world *w = *state;
    struct str_pair meta[] = {{"k", "v"}, {"l", "w"}};
    struct entry entry = {.node = "n1",
                          .address = "10.0.0.1",
                          .meta = meta,
                          .meta_count = 2,
                          .service = "web",
                          .port = 80};
    world_add(w, entry);
    entry.id = "double";
    world_add(w, entry);
    entry.id = "other-port";
    entry.port = 81;
    world_add(w, entry);
    const char *text = ASK_EDNS(w, "web.service.consul", SRV);
    assert_int_equal(count_lines(text, "ans"), 2);
    assert_int_equal(count_lines(text, " 81 n1.node.dc1.consul."), 1);
    assert_int_equal(count_lines(text, "add n1.node.dc1.consul. 0 A"), 1);
    assert_int_equal(count_lines(text, "add n1.node.dc1.consul. 0 TXT"), 2);
    /* Without EDNS and with all of it: what is over the limit loses the metadata, not addresses. */
    w->config.enable_additional_node_meta_txt = false;
    world_reconfigure(w);
    assert_int_equal(count_lines(ASK(w, "web.service.consul", SRV), "TXT"), 0);
    /* None on addresses. */
    assert_int_equal(count_lines(ASK(w, "web.service.consul", A), "add"), 0);
}

static void health(void **state) {
    struct world *w = *state;
    struct entry entry = {
        .node = "n1", .address = "10.0.0.1", .service = "web", .status = "warning"};
    world_add(w, entry);
    world_add(w, (struct entry){
                     .node = "n2", .address = "10.0.0.2", .service = "web", .status = "critical"});
    world_add(w, (struct entry){.node = "n3",
                                .address = "10.0.0.3",
                                .service = "web",
                                .node_status = "critical",
                                .status = "passing"});
    assert_string_equal(ASK(w, "web.service.consul", A),
                        "NOERROR aa\nans web.service.consul. 0 A 10.0.0.1\n");
    w->config.only_passing = true;
    world_reconfigure(w);
    assert_string_equal(ASK(w, "web.service.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    entry.status = "passing";
    world_add(w, entry);
    assert_string_equal(ASK(w, "web.service.consul", A),
                        "NOERROR aa\nans web.service.consul. 0 A 10.0.0.1\n");
}

static void translation(void **state) {
    struct world *w = *state;
    struct str_pair tagged[] = {{"lan_ipv4", "10.0.0.9"}, {"lan_ipv6", "2001:db8::9"}};
    world_add(w, (struct entry){.node = "n1",
                                .address = "10.0.0.1",
                                .tagged = tagged,
                                .tagged_count = 2,
                                .service = "web",
                                .port = 80});
    assert_string_equal(ASK(w, "n1.node.consul", A),
                        "NOERROR aa\nans n1.node.consul. 0 A 10.0.0.9\n");
    assert_string_equal(ASK(w, "n1.node.consul", AAAA),
                        "NOERROR aa\nans n1.node.consul. 0 AAAA 2001:db8::9\n");
    assert_string_equal(ASK(w, "web.service.consul", AAAA),
                        "NOERROR aa\nans web.service.consul. 0 AAAA 2001:db8::9\n");
    /* Not the node's own address any more, so the target says it. */
    assert_string_equal(
        ASK(w, "web.service.consul", SRV),
        "NOERROR aa\nans web.service.consul. 0 SRV 1 1 80 "
        "20010db8000000000000000000000009.addr.dc1.consul.\n"
        "add 20010db8000000000000000000000009.addr.dc1.consul. 0 AAAA 2001:db8::9\n");
    struct catalog_tagged_address service_tagged[] = {{"lan_ipv4", "10.2.0.1", 1},
                                                      {"wan", "1.2.3.4", 2}};
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "api",
                                .service_address = "2001:db8::2",
                                .service_tagged = service_tagged,
                                .service_tagged_count = 2});
    assert_string_equal(ASK(w, "api.service.consul", A),
                        "NOERROR aa\nans api.service.consul. 0 A 10.2.0.1\n");
    assert_string_equal(ASK(w, "api.service.consul", AAAA),
                        "NOERROR aa\nans api.service.consul. 0 AAAA 2001:db8::2\n");
}

static void make_query(struct world *w, const char *id, const char *json) {
    struct arena arena;
    struct catalog_command command = {.kind = COMMAND_QUERY};
    struct err_text text = {""};
    arena_init(&arena);
    if (query_parse(json, strlen(json), &arena, &command.set_query.query, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
    command.set_query.query.id = id;
    world_apply(w, &command);
    arena_clear(&arena);
}

static void queries(void **state) {
    struct world *w = *state;
    const uint8_t ecs[] = {0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100};
    const struct dns_service_ttl ttls[] = {{"web", 9}};
    world_add(w, (struct entry){.node = "n1",
                                .address = "10.0.0.1",
                                .service = "Web",
                                .port = 80,
                                .tags = {"v1"},
                                .status = "warning"});
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "web",
                                .tags = {"v2"},
                                .status = "critical"});
    w->config.only_passing = true; /* not for queries */
    w->config.service_ttls = ttls;
    w->config.service_ttl_count = 1;
    make_query(w, "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
               "{\"Name\":\"My.Query\",\"Service\":{\"Service\":\"Web\"},"
               "\"DNS\":{\"TTL\":\"7s\"}}");
    make_query(w, "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb",
               "{\"Name\":\"t-\",\"Template\":{\"Type\":\"name_prefix_match\"},"
               "\"Service\":{\"Service\":\"web\",\"Tags\":[\"${name.suffix}\"],"
               "\"IgnoreCheckIDs\":[\"web\"]}}");
    assert_string_equal(ASK(w, "my.QUERY.query.consul", A),
                        "NOERROR aa\nans my.QUERY.query.consul. 7 A 10.0.0.1\n");
    assert_string_equal(
        ASK(w, "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa.query.dc1.consul", A),
        "NOERROR aa\nans aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa.query.dc1.consul. 7 A "
        "10.0.0.1\n");
    assert_string_equal(ASK(w, "_my.query._tcp.query.consul", SRV),
                        "NOERROR aa\nans _my.query._tcp.query.consul. 7 SRV 1 1 80 "
                        "n1.node.dc1.consul.\nadd n1.node.dc1.consul. 7 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "my.query.query.consul", AAAA), "NOERROR aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "t-v2.query.consul", A),
                        "NOERROR aa\nans t-v2.query.consul. 9 A 10.0.0.2\n");
    assert_string_equal(ASK(w, "t-v3.query.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "none.query.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(ASK(w, "my.query.query.dc2.consul", A), "NXDOMAIN aa\n" SOA_LINE);
    /* A template has no answer under its id. */
    assert_string_equal(ASK(w, "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb.query.consul", A),
                        "SERVFAIL aa\n");
    struct ask ask = {.name = "my.query.query.consul",
                      .type = A,
                      .edns = 4096,
                      .options = ecs,
                      .option_bytes = sizeof ecs};
    assert_non_null(strstr(world_ask(w, ask), " 00 08 00 07 00 01 18 18 c6 33 64\n"));
}

static void hostnames(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "n1",
                                .address = "10.0.0.1",
                                .service = "out",
                                .service_address = "host.example.com",
                                .port = 5});
    assert_string_equal(ASK(w, "out.service.consul", A),
                        "NOERROR aa\nans out.service.consul. 0 CNAME host.example.com.\n");
    assert_string_equal(ASK(w, "out.service.consul", SRV),
                        "NOERROR aa\nans out.service.consul. 0 SRV 1 1 5 host.example.com.\n");
    world_add(w, (struct entry){.node = "far", .address = "far.example.com."});
    assert_string_equal(ASK(w, "far.node.consul", AAAA),
                        "NOERROR aa\nans far.node.consul. 0 CNAME far.example.com.\n");
    /* One address is enough to drop all aliases; without one only the first stays. */
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.1",
                                .service = "out",
                                .service_address = "other.example.com"});
    for (int i = 0; i < 20; i++) {
        const char *text = ASK(w, "out.service.consul", A);
        assert_int_equal(count_lines(text, "CNAME"), 1);
    }
    world_add(w, (struct entry){.node = "n3", .address = "10.0.0.3", .service = "out"});
    for (int i = 0; i < 20; i++) {
        assert_string_equal(ASK(w, "out.service.consul", A),
                            "NOERROR aa\nans out.service.consul. 0 A 10.0.0.3\n");
    }
}

static void hostnames_of_ours(void **state) {
    struct world *w = *state;
    struct dns_service_ttl ttls[] = {{"*", 30}};
    w->config.service_ttls = ttls;
    w->config.service_ttl_count = 1;
    w->config.node_ttl_s = 60;
    struct str_pair meta[] = {{"k", "v"}};
    world_add(w,
              (struct entry){.node = "n1", .address = "10.0.0.1", .meta = meta, .meta_count = 1});
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "alias",
                                .service_address = "N1.node.consul",
                                .port = 1});
    assert_string_equal(ASK(w, "alias.service.consul", A),
                        "NOERROR aa\n"
                        "ans alias.service.consul. 30 CNAME N1.node.consul.\n"
                        "ans N1.node.consul. 30 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "alias.service.consul", SRV),
                        "NOERROR aa\n"
                        "ans alias.service.consul. 30 SRV 1 1 1 N1.node.consul.\n"
                        "add N1.node.consul. 30 A 10.0.0.1\n");
    world_add(w, (struct entry){.node = "n3", .address = "alias.service.consul"});
    assert_string_equal(ASK(w, "n3.node.consul", A),
                        "NOERROR aa\n"
                        "ans n3.node.consul. 60 CNAME alias.service.consul.\n"
                        "ans alias.service.consul. 30 CNAME N1.node.consul.\n"
                        "ans N1.node.consul. 30 A 10.0.0.1\n");
    world_add(w, (struct entry){.node = "n4",
                                .address = "10.0.0.4",
                                .service = "by-addr",
                                .service_address = "0a000063.addr.consul"});
    assert_string_equal(ASK(w, "by-addr.service.consul", A),
                        "NOERROR aa\n"
                        "ans by-addr.service.consul. 30 CNAME 0a000063.addr.consul.\n"
                        "ans 0a000063.addr.consul. 30 A 10.0.0.99\n");
}

static void circles_end(void **state) {
    struct world *w = *state;
    /* Its own name: where its node is. */
    world_add(w, (struct entry){.node = "n1",
                                .address = "10.0.0.1",
                                .service = "self",
                                .service_address = "Self.service.consul",
                                .port = 3});
    assert_string_equal(ASK(w, "self.service.consul", A),
                        "NOERROR aa\nans self.service.consul. 0 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "self.service.consul", SRV),
                        "NOERROR aa\nans self.service.consul. 0 SRV 1 1 3 n1.node.dc1.consul.\n"
                        "add n1.node.dc1.consul. 0 A 10.0.0.1\n");
    /* And if the node has none either, a lone CNAME. */
    world_add(w, (struct entry){.node = "n2",
                                .address = "host.example.com",
                                .service = "web",
                                .service_address = "web.service.consul"});
    assert_string_equal(ASK(w, "web.service.consul", A),
                        "NOERROR aa\nans web.service.consul. 0 CNAME web.service.consul.\n");
    /* Two that name each other, and a chain that is too long. */
    world_add(w, (struct entry){.node = "ping", .address = "pong.node.consul"});
    world_add(w, (struct entry){.node = "pong", .address = "ping.node.consul"});
    assert_string_equal(ASK(w, "ping.node.consul", A),
                        "NOERROR aa\n"
                        "ans ping.node.consul. 0 CNAME pong.node.consul.\n"
                        "ans pong.node.consul. 0 CNAME ping.node.consul.\n");
    for (int i = 0; i < 8; i++) {
        char node[16], next[32];
        snprintf(node, sizeof node, "c%d", i);
        snprintf(next, sizeof next, "c%d.node.consul", i + 1);
        world_add(w, (struct entry){.node = node, .address = next});
    }
    const char *text =
        world_ask(w, (struct ask){.name = "c0.node.consul", .type = A, .edns = 4096});
    assert_int_equal(count_lines(text, "CNAME"), 1 + LIMIT_DNS_CHASE_DEPTH);
}

static void addr_names(void **state) {
    struct world *w = *state;
    w->config.node_ttl_s = 4;
    assert_string_equal(ASK(w, "0A000001.Addr.dc9.CONSUL", A),
                        "NOERROR aa\nans 0a000001.addr.dc9.CONSUL. 4 A 10.0.0.1\n");
    assert_string_equal(ASK(w, "0a000001.addr.consul", AAAA),
                        "NOERROR aa\nadd 0a000001.addr.consul. 4 A 10.0.0.1\n");
    assert_string_equal(
        ASK(w, "20010db8000000000000000000000001.addr.consul", ANY),
        "NOERROR aa\nans 20010db8000000000000000000000001.addr.consul. 4 AAAA 2001:db8::1\n");
    assert_string_equal(ASK(w, "0a0000zz.addr.consul", A), "NXDOMAIN aa\n" SOA_LINE);
}

static void reverse(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1"});
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "Web",
                                .service_address = "2001:db8::1"});
    world_add(w, (struct entry){.node = "n2",
                                .address = "10.0.0.2",
                                .service = "shadow",
                                .service_address = "10.0.0.1"});
    assert_string_equal(ASK(w, "1.0.0.10.IN-ADDR.arpa", 12),
                        "NOERROR aa\nans 1.0.0.10.IN-ADDR.arpa. 0 PTR n1.node.dc1.consul.\n");
    const char *six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_int_equal(count_lines(ASK(w, six, A), "PTR Web.service.dc1.consul.\n"), 1);
    assert_string_equal(ASK(w, "9.0.0.10.in-addr.arpa", 12), "NXDOMAIN aa\n" SOA_LINE);
    assert_string_equal(
        ASK(w, "1.0.0.10.in-addr.arpa", SOA),
        "NOERROR aa\nans 1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.consul.\n" SOA_LINE);
}

static void zone_records(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "Server-1", .address = "10.0.0.1", .service = "consul"});
    w->config.node_ttl_s = 9;
    w->config.soa = (struct dns_soa){1, 2, 3, 4};
    assert_string_equal(ASK(w, "any.Thing.Consul", NS),
                        "NOERROR aa\n"
                        "ans Consul. 9 NS server-1.node.dc1.consul.\n"
                        "add server-1.node.dc1.consul. 9 A 10.0.0.1\n");
    assert_string_equal(ASK_EDNS(w, "cairn", SOA),
                        "NOERROR aa\n"
                        "ans cairn. 4 SOA ns.cairn. hostmaster.cairn. 1700000000 1 2 3 4\n"
                        "auth cairn. 9 NS server-1.node.dc1.cairn.\n"
                        "add server-1.node.dc1.cairn. 9 A 10.0.0.1\nopt 1232 ext=0\n");
    world_add(w, (struct entry){.node = "bad_name", .address = "10.0.0.2", .service = "consul"});
    world_add(w, (struct entry){.node = "sick",
                                .address = "10.0.0.3",
                                .service = "consul",
                                .node_status = "critical"});
    assert_int_equal(count_lines(ASK_EDNS(w, "consul", NS), "ans"), 1);
    for (int i = 0; i < 5; i++) {
        char node[16], address[16];
        snprintf(node, sizeof node, "s%d", i);
        snprintf(address, sizeof address, "10.0.1.%d", i);
        world_add(w, (struct entry){.node = node, .address = address, .service = "consul"});
    }
    assert_int_equal(count_lines(ASK_EDNS(w, "consul", NS), "ans"), 3);
    assert_int_equal(count_lines(w->text, "add"), 3);
}

static void service_ttls(void **state) {
    struct world *w = *state;
    char copied[] = "web";
    struct dns_service_ttl ttls[] = {{"*", 1},      {"web*", 2}, {copied, 3},
                                     {"web-a*", 4}, {"Up", 5},   {"web!*", 6}};
    w->config.service_ttls = ttls;
    w->config.service_ttl_count = 6;
    world_snapshot(w);
    copied[0] = 'x';
    const struct {
        const char *service;
        const char *want;
    } rows[] = {{"other", " 1 A"}, {"web", " 3 A"}, {"webs", " 2 A"}, {"Web-A1", " 4 A"},
                {"web-b", " 2 A"}, {"Up", " 1 A"},  {"web!x", " 6 A"}};
    for (unsigned i = 0; i < 7; i++) {
        char name[64];
        world_add(w,
                  (struct entry){.node = "n1", .address = "10.0.0.1", .service = rows[i].service});
        snprintf(name, sizeof name, "%s.service.consul", rows[i].service);
        assert_int_equal(count_lines(ASK(w, name, A), rows[i].want), 1);
    }
}

static void alt_domain(void **state) {
    struct world *w = *state;
    w->config.domain = "Dc.Example.com";
    w->config.alt_domain = "alt.example.com.";
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1", .service = "web"});
    assert_int_equal(
        count_lines(ASK(w, "web.service.alt.example.com", SRV), "n1.node.dc1.alt.example.com."), 2);
    assert_int_equal(
        count_lines(ASK(w, "web.service.dc.example.com", SRV), "n1.node.dc1.dc.example.com."), 2);
    assert_int_equal(count_lines(ASK(w, "web.service.cairn", SRV), "n1.node.dc1.cairn."), 2);
    assert_string_equal(ASK(w, "web.service.consul", SRV), "REFUSED\n");
    assert_int_equal(
        count_lines(ASK(w, "1.0.0.10.in-addr.arpa", 12), "PTR n1.node.dc1.dc.example.com."), 1);
    w->config.alt_domain = "a..b";
    struct err_text text = {""};
    assert_null(dns_snapshot_create(&w->config, &text));
    assert_string_equal(text.s, "dns: not a DNS name: \"a..b\"");
}

static void unspeakable_names_are_left_out(void **state) {
    struct world *w = *state;
    char label[80];
    memset(label, 'x', 70);
    label[70] = '\0';
    world_add(w, (struct entry){.node = label, .address = "10.0.0.1", .service = "web"});
    world_add(w, (struct entry){.node = "a..b", .address = "10.0.0.2", .service = "web"});
    assert_string_equal(ASK(w, "web.service.consul", SRV), "NOERROR aa\n" SOA_LINE);
    assert_int_equal(count_lines(ASK(w, "web.service.consul", A), "ans"), 2);
    world_add(w, (struct entry){.node = "n3", .address = "10.0.0.3", .service = "web"});
    assert_int_equal(count_lines(ASK(w, "web.service.consul", SRV), "ans"), 1);
    world_add(w, (struct entry){.node = "n4",
                                .address = "10.0.0.4",
                                .service = "odd",
                                .service_address = "not..a.name"});
    assert_string_equal(ASK(w, "odd.service.consul", A), "NOERROR aa\n" SOA_LINE);
}

static void client_subnet_is_echoed(void **state) {
    struct world *w = *state;
    const uint8_t ecs[] = {0, 8, 0, 7, 0, 1, 24, 9, 198, 51, 100};
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1"});
    struct ask ask = {.name = "n1.node.consul",
                      .type = A,
                      .edns = 4096,
                      .options = ecs,
                      .option_bytes = sizeof ecs};
    assert_string_equal(world_ask(w, ask), "NOERROR aa\nans n1.node.consul. 0 A 10.0.0.1\n"
                                           "opt 4096 ext=0 00 08 00 07 00 01 18 00 c6 33 64\n");
    ask.name = "nowhere";
    assert_string_equal(world_ask(w, ask),
                        "REFUSED\nopt 4096 ext=0 00 08 00 07 00 01 18 00 c6 33 64\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- what recursors are for ---- */

static void use_recursor(struct world *w) {
    static struct addr recursor;
    assert_true(addr_parse("10.9.9.9", 53, &recursor));
    w->config.recursors = &recursor;
    w->config.recursor_count = 1;
    world_reconfigure(w);
}

static enum dns_need need(const struct world *w) {
    return dns_scratch_wanted(w->scratch)->need;
}

static void names_of_others(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "n1", .address = "10.0.0.1", .service = "web"});
    assert_string_equal(ASK(w, "www.example.com", A), "REFUSED\n");
    assert_int_equal(need(w), DNS_NEEDS_NOTHING);
    use_recursor(w);
    assert_string_equal(ASK(w, "www.example.com", A), "SERVFAIL ra\n");
    assert_int_equal(need(w), DNS_NEEDS_RELAY);
    assert_int_equal(dns_scratch_wanted(w->scratch)->name_bytes, 17);
    assert_string_equal(ASK(w, "9.9.9.10.in-addr.arpa", DNS_TYPE_PTR), "SERVFAIL ra\n");
    assert_int_equal(need(w), DNS_NEEDS_RELAY);
    assert_string_equal(ASK(w, "x.in-addr.arpa", DNS_TYPE_PTR), "SERVFAIL ra\n");
    assert_int_equal(need(w), DNS_NEEDS_RELAY);
    assert_string_equal(ASK(w, "web.service.consul", A),
                        "NOERROR aa ra\nans web.service.consul. 0 A 10.0.0.1\n");
    assert_int_equal(need(w), DNS_NEEDS_NOTHING);
    assert_string_equal(ASK(w, "no.service.consul", A), "NXDOMAIN aa ra\n" SOA_LINE);
    assert_int_equal(need(w), DNS_NEEDS_NOTHING);
    world_ask(w, (struct ask){.name = "example.com", .type = A, .flags = 4 << 11}); /* NOTIFY */
    assert_int_equal(need(w), DNS_NEEDS_NOTHING);
}

/* Asked again with what came of it: the same instances are drawn, and nothing more is wanted. */
static void foreign_targets(void **state) {
    struct world *w = *state;
    use_recursor(w);
    for (int i = 0; i < 12; i++) {
        char node[16], host[32];
        snprintf(node, sizeof node, "n%d", i);
        snprintf(host, sizeof host, "H%d.Example.com", i);
        world_add(
            w, (struct entry){
                   .node = node, .address = "10.0.0.1", .service = "web", .service_address = host});
    }
    ASK(w, "web.service.consul", SRV);
    assert_int_equal(need(w), DNS_NEEDS_NAMES);
    assert_int_equal(dns_scratch_wanted(w->scratch)->count, 4); /* one more than can be sent */
    world_ask(w, (struct ask){.name = "web.service.consul", .type = SRV, .edns = 4096});
    assert_int_equal(dns_scratch_wanted(w->scratch)->count, LIMIT_DNS_RESOLVED_NAMES);
    for (int i = 0; i < 10; i++) {
        ASK(w, "web.service.consul", i % 2 == 0 ? AAAA : ANY);
        const struct dns_wanted wanted = *dns_scratch_wanted(w->scratch);
        assert_int_equal(wanted.need, DNS_NEEDS_NAMES);
        assert_int_equal(wanted.count, 1);
        assert_int_equal(wanted.type, i % 2 == 0 ? AAAA : A);
        struct upstream_record record = {.type = A,
                                         .data_bytes = 4,
                                         .ttl_s = 9,
                                         .owner = wanted.names[0].name,
                                         .data = (const uint8_t *)"\12\7\7\7"};
        struct dns_resolved_name name = {wanted.names[0].name, wanted.names[0].bytes, &record, 1};
        struct dns_resolved resolved = {.rand = &wanted.rand, .names = &name, .count = 1};
        uint8_t request[64];
        struct ask ask = {.name = "web.service.consul", .type = A};
        epoch_enter(w->epoch);
        struct dns_question question = {.request = request,
                                        .request_bytes = ask_encode(&ask, request),
                                        .view = catalog_view(w->catalog),
                                        .wall_s = 1,
                                        .resolved = &resolved};
        w->out_bytes = dns_answer(w->scratch, world_snapshot(w), &question, w->out);
        epoch_exit(w->epoch);
        answer_format(w->out, w->out_bytes, w->text);
        assert_int_equal(count_lines(w->text, "\nans "), 2);
        assert_non_null(strstr(w->text, ".Example.com. 0 A 10.7.7.7\n"));
        assert_int_equal(need(w), DNS_NEEDS_NOTHING);
    }
}

/* Three names of ours may lie before a foreign one, and four are too many. */
static void foreign_behind_inner(void **state) {
    struct world *w = *state;
    use_recursor(w);
    for (int i = 4; i >= 0; i--) {
        char node[16], next[32];
        snprintf(node, sizeof node, "c%d", i);
        snprintf(next, sizeof next, "c%d.node.consul", i + 1);
        world_add(w, (struct entry){.node = node, .address = i == 4 ? "a.example.com" : next});
    }
    ASK(w, "c1.node.consul", A);
    assert_int_equal(need(w), DNS_NEEDS_NAMES);
    ASK(w, "c0.node.consul", A);
    assert_int_equal(need(w), DNS_NEEDS_NOTHING);
    world_add(w, (struct entry){.node = "c3", .address = "10.0.0.3"});
    const char *text = world_ask(w, (struct ask){.name = "c0.node.consul", .type = A, .edns = 999});
    assert_non_null(strstr(text, "ans c3.node.consul. 0 A 10.0.0.3\n"));
}

static void nodes_that_are_no_hosts(void **state) {
    struct world *w = *state;
    world_add(w, (struct entry){.node = "ok", .address = "10.0.0.1", .service = "consul"});
    ASK(w, "consul", DNS_TYPE_NS);
    assert_null(dns_scratch_skipped_node(w->scratch));
    world_add(w, (struct entry){.node = "not_ok", .address = "10.0.0.2", .service = "consul"});
    const char *text = ASK(w, "consul", DNS_TYPE_NS);
    assert_int_equal(count_lines(text, "NS "), 1);
    assert_string_equal(dns_scratch_skipped_node(w->scratch), "not_ok");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(intake),
        TEST(names_of_others),
        TEST(foreign_targets),
        TEST(foreign_behind_inner),
        TEST(nodes_that_are_no_hosts),
        TEST(without_a_leader_ever),
        TEST(node_types),
        TEST(node_meta_text),
        TEST(service_addresses),
        TEST(service_tags),
        TEST(srv_targets),
        TEST(srv_doubles_and_meta),
        TEST(health),
        TEST(translation),
        TEST(queries),
        TEST(hostnames),
        TEST(hostnames_of_ours),
        TEST(circles_end),
        TEST(addr_names),
        TEST(reverse),
        TEST(zone_records),
        TEST(service_ttls),
        TEST(alt_domain),
        TEST(unspeakable_names_are_left_out),
        TEST(client_subnet_is_echoed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
