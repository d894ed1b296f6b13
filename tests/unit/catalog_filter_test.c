/* Filters: every operator on every type, the grammar, and the sentences of errors (contract
 * http-core 6). Errors of the parser are those that go-bexpr's own tests expect. */
#include "tests/unit/catalog_support.h"

#include "base/arena.h"
#include "base/buf.h"
#include "catalog/filter.h"

static struct str_pair node_meta[] = {{"consul-version", "1.21.4"}, {"rack", "r1"}};
static struct str_pair node_addresses[] = {{"lan", "10.0.0.1"}, {"wan", "192.0.2.1"}};
static const char *tags[] = {"v1", "primary", "caf\xc3\xa9"};
static struct str_pair service_meta[] = {{"empty", ""}, {"version", "1.2.3"}};
static struct catalog_tagged_address service_addresses[] = {{"lan", "10.0.0.9", 8081},
                                                            {"wan", "192.0.2.9", 0}};

struct world {
    struct catalog_node node;
    struct catalog_service service, plain; /* plain: nothing is set */
    struct catalog_check serf, own;
    struct catalog_instance *instance, *bare; /* bare: of plain, without checks */
};

static void world_init(struct world *w) {
    w->node = node_row("n1", "10.0.0.1");
    w->node.id = "30082d89-ba18-4da9-a9b4-fa7dac5c2395";
    w->node.meta = (struct str_map){node_meta, 2, true};
    w->node.tagged_addresses = (struct str_map){node_addresses, 2, true};
    w->service = service_row("n1", "web-1", "web");
    w->service.tags = (struct str_list){tags, 3};
    w->service.meta = (struct str_map){service_meta, 2, true};
    w->service.tagged_addresses = service_addresses;
    w->service.tagged_address_count = 2;
    w->service.address = "10.0.0.9";
    w->service.port = 8080;
    w->service.weight_warning = 3;
    w->service.enable_tag_override = true;
    w->service.connect = "{\"Native\":true}";
    w->plain = service_row("n1", "plain", "plain");
    w->serf = check_row("n1", "serfHealth", "", "passing");
    w->own = check_row("n1", "service:web-1", "web-1", "critical");
    w->own.output = "HTTP GET http://10.0.0.9/: 503\nsay \"hi\" \\ bye";
    w->own.service_name = "web";
    w->own.service_tags = (struct str_list){tags, 3};
    w->own.type = "http";
    w->instance = calloc(1, sizeof *w->instance + 2 * sizeof w->instance->checks[0]);
    w->instance->node = &w->node;
    w->instance->service = &w->service;
    w->instance->check_count = 2;
    w->instance->checks[0] = &w->serf;
    w->instance->checks[1] = &w->own;
    w->bare = calloc(1, sizeof *w->bare);
    w->bare->node = &w->node;
    w->bare->service = &w->plain;
}

static void world_clear(struct world *w) {
    free(w->instance);
    free(w->bare);
}

enum which { NODE, SERVICE, PLAIN, CHECK, SERVICE_NODE, PLAIN_NODE, INSTANCE, BARE };

static enum filter_rows rows_of(enum which which) {
    static const enum filter_rows rows[] = {
        FILTER_NODES,         FILTER_SERVICES,      FILTER_SERVICES,  FILTER_CHECKS,
        FILTER_SERVICE_NODES, FILTER_SERVICE_NODES, FILTER_INSTANCES, FILTER_INSTANCES};
    return rows[which];
}

static const void *row_of(const struct world *w, enum which which) {
    const void *const rows[] = {&w->node,    &w->service, &w->plain,   &w->own,
                                w->instance, w->bare,     w->instance, w->bare};
    return rows[which];
}

static const struct {
    enum which which;
    const char *expression;
    bool stays;
} judged[] = {
    /* strings */
    {NODE, "Node == n1", true},
    {NODE, "Node == \"n1\"", true},
    {NODE, "Node == `n1`", true},
    {NODE, "Node == N1", false},
    {NODE, "Node==n1", true},
    {NODE, "Node!=n1", false},
    {NODE, "Node != n2", true},
    {NODE, "Datacenter == dc1", true},
    {NODE, "PeerName == \"\"", true},
    {NODE, "Partition != \"\"", false},
    {NODE, "Address == \"10.0.0.1\"", true},
    {NODE, "ID == \"30082d89-ba18-4da9-a9b4-fa7dac5c2395\"", true},
    {NODE, "\"0.0\" in Address", true},
    {NODE, "\"1.1\" in Address", false},
    {NODE, "\"\" in Address", true},
    {NODE, "\"0.0\" not in Address", false},
    {NODE, "Address contains \"0.0\"", true},
    {NODE, "Address not contains \"0.0\"", false},
    {NODE, "Address matches `^10\\.`", true},
    {NODE, "Address matches `0\\.1$`", true},
    {NODE, "Address matches `^0`", false},
    {NODE, "Address not matches `^10\\.`", false},
    {NODE, "Address not matches x", true},
    {NODE, "Address matches \"\"", true},
    /* patterns of RE2 */
    {NODE, "Node matches `(?i)N1`", true},
    {NODE, "Node matches `^(?P<letter>\\pL)\\d{1,3}$`", true},
    {NODE, "Node matches `^[[:alpha:]][^a-z]\\z`", true},
    {NODE, "Address matches `\\Q0.0.0\\E`", true},
    {NODE, "Address matches `\\Q0.0.1`", true},
    {NODE, "Node matches `n(?:1|2)??`", true},
    {CHECK, "Output matches `503$`", false}, /* '$' is the end of the text */
    {CHECK, "Output matches `(?m)503$`", true},
    {CHECK, "Output matches `GET.*bye`", false},
    {CHECK, "Output matches `(?s)GET.*bye`", true},
    /* numbers and truth */
    {SERVICE, "Port == 8080", true},
    {SERVICE, "Port == \"8080\"", true},
    {SERVICE, "Port == \"0x1f90\"", true},
    {SERVICE, "Port == \"0X1F90\"", true},
    {SERVICE, "Port == \"0b1111110010000\"", true},
    {SERVICE, "Port == \"0o17620\"", true},
    {SERVICE, "Port == \"017620\"", true},
    {SERVICE, "Port == \"0x_1f_90\"", true},
    {SERVICE, "Port == \"+8080\"", true},
    {SERVICE, "Port == -8080", false},
    {SERVICE, "Port != 8080", false},
    {SERVICE, "Port != 80", true},
    {SERVICE, "Port == 9223372036854775807", false},
    {SERVICE, "Port == -9223372036854775808", false},
    {PLAIN, "Port == 0", true},
    {SERVICE, "Weights.Passing == 1 and Weights.Warning == 3", true},
    {SERVICE, "EnableTagOverride == true", true},
    {SERVICE, "EnableTagOverride == 1", true},
    {SERVICE, "EnableTagOverride == F", false},
    {SERVICE, "EnableTagOverride != false", true},
    {SERVICE, "Connect.Native == true", true},
    {PLAIN, "Connect.Native == true", false},
    {PLAIN, "Proxy.Mode == \"\" and Proxy.MeshGateway.Mode == \"\"", true},
    {PLAIN, "Proxy.LocalServicePort == 0 and Proxy.Expose.Checks == false", true},
    {PLAIN, "Proxy.Upstreams is empty and Proxy.Expose.Paths is empty", true},
    {PLAIN, "Proxy.Upstreams is not empty", false},
    {PLAIN, "Proxy.Upstreams.DestinationName != x", false}, /* ANY of none */
    {PLAIN, "Proxy.Upstreams.MeshGateway.Mode == \"\"", false},
    /* lists */
    {SERVICE, "v1 in Tags", true},
    {SERVICE, "v in Tags", false},
    {SERVICE, "v1 not in Tags", false},
    {SERVICE, "Tags contains primary", true},
    {SERVICE, "Tags not contains primary", false},
    {SERVICE, "Tags is empty", false},
    {SERVICE, "Tags is not empty", true},
    {PLAIN, "Tags is empty", true},
    {PLAIN, "Tags is not empty", false},
    {PLAIN, "v1 in Tags", false},
    {PLAIN, "v1 not in Tags", true},
    {SERVICE, "\"caf\\u00e9\" in Tags", true},
    {SERVICE, "`caf\xc3\xa9` in Tags", true},
    /* maps, and keys that are not there */
    {SERVICE, "Meta.version == \"1.2.3\"", true},
    {SERVICE, "Meta[\"version\"] == \"1.2.3\"", true},
    {SERVICE, "Meta[ `version`\t] != \"1.2.3\"", false},
    {SERVICE, "Meta.empty == \"\"", true},
    {NODE, "Meta[\"consul-version\"] matches `^1\\.21`", true},
    {SERVICE, "version in Meta", true},
    {SERVICE, "none in Meta", false},
    {SERVICE, "none not in Meta", true},
    {SERVICE, "Meta contains version", true},
    {SERVICE, "Meta is empty", false},
    {SERVICE, "Meta is not empty", true},
    {PLAIN, "Meta is empty", true},
    {PLAIN, "Meta.none == \"\"", false},
    {PLAIN, "Meta.none != \"\"", true},
    {PLAIN, "x in Meta.none", false},
    {PLAIN, "x not in Meta.none", true},
    {PLAIN, "Meta.none contains x", false},
    {PLAIN, "Meta.none matches x", true},
    {PLAIN, "Meta.none not matches x", true},
    {PLAIN, "not Meta.none == x", true},
    {SERVICE, "TaggedAddresses.lan.Port == 8081", true},
    {SERVICE, "TaggedAddresses[\"wan\"].Address == \"192.0.2.9\"", true},
    {SERVICE, "TaggedAddresses.none.Port == 8081", false},
    {SERVICE, "TaggedAddresses.none.Port != 8081", true},
    {SERVICE, "TaggedAddresses.none.Address matches x", true},
    {SERVICE, "lan in TaggedAddresses", true},
    {SERVICE, "none in TaggedAddresses", false},
    {SERVICE, "TaggedAddresses is not empty", true},
    {PLAIN, "TaggedAddresses is empty", true},
    {NODE, "TaggedAddresses.wan == \"192.0.2.1\"", true},
    {NODE, "wan in TaggedAddresses", true},
    /* the other rows */
    {CHECK, "Status == critical and Node == n1 and CheckID == \"service:web-1\"", true},
    {CHECK, "ServiceID == \"web-1\" and ServiceName == web and v1 in ServiceTags", true},
    {CHECK, "Type == http and Interval == \"\" and Timeout == \"\" and ExposedPort == 0", true},
    {CHECK, "Name != \"\" and Notes == \"\" and PeerName == \"\"", true},
    {SERVICE_NODE, "Node == n1 and ServiceName == web and ServicePort == 8080", true},
    {SERVICE_NODE, "NodeMeta.rack == r1 and ServiceMeta.version == \"1.2.3\"", true},
    {SERVICE_NODE, "ServiceTaggedAddresses.lan.Port == 8081 and v1 in ServiceTags", true},
    {SERVICE_NODE, "ServiceID == \"web-1\" and ServiceAddress == \"10.0.0.9\"", true},
    {SERVICE_NODE, "ServiceEnableTagOverride == true and ServiceWeights.Warning == 3", true},
    {SERVICE_NODE, "ServiceConnect.Native == true and ServiceKind == \"\"", true},
    {SERVICE_NODE, "Datacenter == dc1 and Address == \"10.0.0.1\"", true},
    {SERVICE_NODE, "TaggedAddresses.lan == \"10.0.0.1\"", true},
    {PLAIN_NODE, "ServiceProxy.DestinationServiceName == \"\" and ServiceSocketPath == \"\"", true},
    {PLAIN_NODE, "ServiceTaggedAddresses.lan.Port == 8081", false},
    /* instances: checks match when any of them does, denials too */
    {INSTANCE, "Node.Node == n1 and Service.Service == web", true},
    {INSTANCE, "Node.Datacenter == dc1 and Node.Meta.rack == r1", true},
    {INSTANCE, "Service.Meta.version == \"1.2.3\" and \"v1\" in Service.Tags", true},
    {INSTANCE, "Service.TaggedAddresses.lan.Port == 8081", true},
    {INSTANCE, "Checks.Status == passing", true},
    {INSTANCE, "Checks.Status == warning", false},
    {INSTANCE, "Checks.Status != passing", true},
    {INSTANCE, "not Checks.Status == passing", false},
    {INSTANCE, "Checks.ServiceTags is empty", true},
    {INSTANCE, "v1 in Checks.ServiceTags", true},
    {INSTANCE, "Checks.Output contains 503", true},
    {INSTANCE, "Checks is empty", false},
    {INSTANCE, "Checks is not empty", true},
    {BARE, "Checks is empty", true},
    {BARE, "Checks is not empty", false},
    {BARE, "Checks.Status != passing", false},
    {BARE, "Checks.PeerName == \"\"", false},
    {INSTANCE, "Checks.PeerName == \"\"", true},
    /* precedence, and words that are not keywords where they stand */
    {NODE, "Node == n1 or Node == n1 and Node == x", true},
    {NODE, "(Node == n1 or Node == n1) and Node == x", false},
    {NODE, "Node == x and Node == n1 or Node == n1", true},
    {NODE, "Node == x and (Node == n1 or Node == n1)", false},
    {NODE, "not Node == x and Node == n1", true},
    {NODE, "not Node == n1 or Node == n1", true},
    {NODE, "not (Node == n1 or Node == n1)", false},
    {NODE, "not not Node == n1", true},
    {NODE, "not(Node == x)", false}, /* told apart below: no blank, no match */
    {NODE, "Node == x or Node == y or Node == n1", true},
    {NODE, "Node == n1 and Node != x and Node != y", true},
    {NODE, "(((Node == n1)))", true},
    {NODE, "( \t( Node == n1 ) and(Node == n1) )", false},
    {NODE, "\t\r\n Node \t\r\n == \t\r\n n1 \t\r\n", true},
    {NODE, "not \n in\t Node", false}, /* the value "not" */
    {NODE, "not not in Node", true},
    {NODE, "Node not \n contains not", true},
    {NODE, "Node != and or Node == or", true},
    {NODE, "Node == n1.x[\"y\"]", false},
    {SERVICE, "Meta.version != a.b[\"c\"]", true},
    {CHECK, "Output contains `say \"hi\" \\ bye`", true},
    {CHECK, "Output contains \"say \\x22hi\\042 \\\\ bye\"", true},
    {CHECK, "Output contains \"503\\n\"", true},
    {CHECK, "Output contains `503\r\n`", true}, /* Go drops the \r of raw strings */
    {NODE, "Node != 0 and Node != -1.5 and (Node != 10)", true},
};

static void test_rows(void **state) {
    (void)state;
    struct world w;
    world_init(&w);
    for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
        struct arena arena;
        struct filter *filter = NULL;
        struct err_text text = {""};
        arena_init(&arena);
        enum err err = filter_compile(rows_of(judged[i].which), judged[i].expression, "dc1", &arena,
                                      &filter, &text);
        bool no_blank = strstr(judged[i].expression, "not(") != NULL ||
                        strstr(judged[i].expression, "and(") != NULL;
        if (no_blank) {
            assert_int_equal(err, ERR_REFUSED);
        } else {
            if (err != ERR_OK ||
                filter_keeps(filter, row_of(&w, judged[i].which)) != judged[i].stays) {
                fail_msg("%s: %s", judged[i].expression, text.s);
            }
            /* Again, with what the first time has left behind. */
            assert_int_equal(filter_keeps(filter, row_of(&w, judged[i].which)), judged[i].stays);
            assert_int_equal(filter_judge(filter, &text), ERR_OK);
        }
        arena_clear(&arena);
    }
    world_clear(&w);
}

static void test_members(void **state) {
    static const struct {
        const char *expression;
        bool stays;
    } cases[] = {
        {"Name == n1 and Port == 8301 and Status == 1", true},
        {"Tags.role == consul and \"vsn\" in Tags and Tags is not empty", true},
        {"Tags.rack != r7", true},
        {"Tags[\"role\"] matches \"^node\"", false},
        {"Addr is not empty", true},
        {"Addr is empty", false},
        {"ProtocolMin == 1 and ProtocolMax == 5 and ProtocolCur == 2", true},
        {"DelegateMin == 2 and DelegateMax == 5 and DelegateCur == 3", false},
    };
    struct str_pair own_tags[] = {{"role", "consul"}, {"vsn", "2"}};
    struct filter_member member = {"n1", "10.0.0.1", 8301, {own_tags, 2, true}, 1, 1, 5, 2,
                                   2,    5,          4};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena;
        struct filter *filter = NULL;
        struct err_text text = {""};
        arena_init(&arena);
        if (filter_compile(FILTER_MEMBERS, cases[i].expression, "dc1", &arena, &filter, &text) !=
                ERR_OK ||
            filter_keeps(filter, &member) != cases[i].stays) {
            fail_msg("%s: %s", cases[i].expression, text.s);
        }
        arena_clear(&arena);
    }
}

static const struct {
    enum filter_rows rows;
    const char *expression, *text;
} refused[] = {
    {FILTER_MEMBERS, "Addr == x", "Invalid match operator \"Equal\" for selector \"Addr\""},
    {FILTER_NODES, "foo == \"12x", "1:12 (11): rule \"string\": Unterminated string literal"},
    {FILTER_NODES, "foo == `12x", "1:12 (11): rule \"string\": Unterminated string literal"},
    {FILTER_NODES, "foo == 3x", "1:9 (8): rule \"number\": Invalid number literal"},
    {FILTER_NODES, "foo == 1.2.3", "1:11 (10): rule \"number\": Invalid number literal"},
    {FILTER_NODES, "foo == 0x1f", "1:9 (8): rule \"number\": Invalid number literal"},
    {FILTER_NODES, "foo == 007", "1:9 (8): rule \"number\": Invalid number literal"},
    {FILTER_NODES, "foo == a-b",
     "1:9 (8): no match found, expected: \".\", \"[\", [ \\t\\r\\n], [a-zA-Z0-9_] or EOF"},
    {FILTER_NODES, "foo[3] == abc", "1:5 (4): rule \"index\": Invalid index"},
    {FILTER_NODES, "x in foo[\"abc\"", "1:15 (14): rule \"index\": Unclosed index expression"},
    {FILTER_NODES, "foo[\"abc\" == 3", "1:11 (10): rule \"index\": Unclosed index expression"},
    {FILTER_NODES, "x in 32", "1:6 (5): rule \"match\": Invalid selector"},
    {FILTER_NODES, "32 == 32",
     "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]"},
    {FILTER_NODES, "32 is empty",
     "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]"},
    {FILTER_NODES, "x in foo abc",
     "1:10 (9): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"},
    {FILTER_NODES, "x in foo and ",
     "1:14 (13): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", "
     "[ \\t\\r\\n], [1-9] or [a-zA-Z]"},
    {FILTER_NODES, "x in foo or not ",
     "1:17 (16): no match found, expected: \"!=\", \"(\", \"-\", \"0\", \"==\", \"\\\"\", \"`\", "
     "\"contains\", \"in\", \"is\", \"matches\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]"},
    {FILTER_NODES, "(foo == 4", "1:10 (9): rule \"grouping\": Unmatched parentheses"},
    {FILTER_NODES, "((foo == 4)", "1:12 (11): rule \"grouping\": Unmatched parentheses"},
    {FILTER_NODES, "Node == n1)",
     "1:11 (10): no match found, expected: \".\", \"[\", [ \\t\\r\\n], [a-zA-Z0-9_] or EOF"},
    {FILTER_NODES, "foo\n== \"\xc3\xa9\" \"",
     "2:8 (12): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"},
    {FILTER_NODES, "foo == \"a\\qb\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == \"a\nb\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == \"\\x00\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == \"\\ud800\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == \"\\\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == \"\\400\"", "1:8 (7): rule \"string\": invalid syntax"},
    {FILTER_NODES, "foo == `\xff`", "1:9 (8): invalid encoding"},
    {FILTER_NODES, "foo == \xc0\x80", "1:8 (7): invalid encoding"},
    {FILTER_NODES, "node == x", "Selector \"node\" is not valid"},
    {FILTER_NODES, "Node.x == x", "Selector \"Node.x\" is not valid"},
    {FILTER_NODES, "Meta.x.y.z == x", "Selector \"Meta.x.y\" is not valid"},
    {FILTER_NODES, "a.b.c.d.e.f.g.h.i.j == x", "Selector \"a\" is not valid"},
    {FILTER_NODES, "Service.ID == x", "Selector \"Service\" is not valid"},
    {FILTER_CHECKS, "Definition is empty", "Selector \"Definition\" is not valid"},
    {FILTER_SERVICES, "Weights.Other == 1", "Selector \"Weights.Other\" is not valid"},
    {FILTER_SERVICES, "ServiceName == x or Foo == x", "Selector \"ServiceName\" is not valid"},
    {FILTER_NODES, "Node is empty", "Invalid match operator \"Is Empty\" for selector \"Node\""},
    {FILTER_NODES, "Node is not empty",
     "Invalid match operator \"Is Not Empty\" for selector \"Node\""},
    {FILTER_NODES, "Meta[\"a\\\"] == x", "1:6 (5): rule \"string\": invalid syntax"},
    {FILTER_NODES, "Meta[`a\"\\`] is empty",
     "Invalid match operator \"Is Empty\" for selector \"Meta.a\\\"\\\\\""},
    {FILTER_NODES, "Meta == x", "Invalid match operator \"Equal\" for selector \"Meta\""},
    {FILTER_SERVICES, "80 in Port", "Invalid match operator \"In\" for selector \"Port\""},
    {FILTER_SERVICES, "80 not in Port", "Invalid match operator \"Not In\" for selector \"Port\""},
    {FILTER_SERVICES, "Port contains 80", "Invalid match operator \"In\" for selector \"Port\""},
    {FILTER_SERVICES, "Port matches 80",
     "Invalid match operator \"Matches\" for selector \"Port\""},
    {FILTER_SERVICES, "Tags != x", "Invalid match operator \"Not Equal\" for selector \"Tags\""},
    {FILTER_SERVICES, "Tags not matches x",
     "Invalid match operator \"Not Matches\" for selector \"Tags\""},
    {FILTER_SERVICES, "x in Weights", "Invalid match operator \"In\" for selector \"Weights\""},
    {FILTER_SERVICES, "TaggedAddresses.lan is empty",
     "Invalid match operator \"Is Empty\" for selector \"TaggedAddresses.lan\""},
    {FILTER_INSTANCES, "Service is empty",
     "Invalid match operator \"Is Empty\" for selector \"Service\""},
    {FILTER_INSTANCES, "x in Checks", "Invalid match operator \"In\" for selector \"Checks\""},
    {FILTER_SERVICES, "Port == abc",
     "Failed to coerce value \"abc\" for selector \"Port\": strconv.ParseInt: parsing \"abc\": "
     "invalid syntax"},
    {FILTER_SERVICES, "Port == \"\"",
     "Failed to coerce value \"\" for selector \"Port\": strconv.ParseInt: parsing \"\": invalid "
     "syntax"},
    {FILTER_SERVICES, "Port == 1.5",
     "Failed to coerce value \"1.5\" for selector \"Port\": strconv.ParseInt: parsing \"1.5\": "
     "invalid syntax"},
    {FILTER_SERVICES, "Port == \"1_0\"",
     "Failed to coerce value \"1_0\" for selector \"Port\": strconv.ParseInt: parsing \"1_0\": "
     "invalid syntax"},
    {FILTER_SERVICES, "Port == \"0x_\"",
     "Failed to coerce value \"0x_\" for selector \"Port\": strconv.ParseInt: parsing \"0x_\": "
     "invalid syntax"},
    {FILTER_SERVICES, "Port == 9223372036854775808",
     "Failed to coerce value \"9223372036854775808\" for selector \"Port\": strconv.ParseInt: "
     "parsing \"9223372036854775808\": value out of range"},
    {FILTER_SERVICES, "EnableTagOverride == yes",
     "Failed to coerce value \"yes\" for selector \"EnableTagOverride\": strconv.ParseBool: "
     "parsing \"yes\": invalid syntax"},
    {FILTER_INSTANCES, "Service.Weights.Passing == x",
     "Failed to coerce value \"x\" for selector \"Service.Weights.Passing\": strconv.ParseInt: "
     "parsing \"x\": invalid syntax"},
    {FILTER_NODES, "Node matches `(?=a)`",
     "Failed to compile regular expression \"(?=a)\": error parsing regexp: invalid or unsupported "
     "Perl syntax: `(?=`"},
    {FILTER_NODES, "Node matches `(?<!a)`",
     "Failed to compile regular expression \"(?<!a)\": error parsing regexp: invalid or "
     "unsupported Perl syntax: `(?<`"},
    {FILTER_NODES, "Node matches `(a)\\1`",
     "Failed to compile regular expression \"(a)\\\\1\": error parsing regexp: invalid escape "
     "sequence: `\\1`"},
    {FILTER_NODES, "Node matches `\\Kx`",
     "Failed to compile regular expression \"\\\\Kx\": error parsing regexp: invalid escape "
     "sequence: `\\K`"},
    {FILTER_NODES, "Node matches `[\\K]`",
     "Failed to compile regular expression \"[\\\\K]\": error parsing regexp: invalid escape "
     "sequence: `\\K`"},
    {FILTER_NODES, "Node matches `(*UCP)x`",
     "Failed to compile regular expression \"(*UCP)x\": error parsing regexp: missing argument to "
     "repetition operator: `*`"},
    {FILTER_NODES, "Node matches `a++`",
     "Failed to compile regular expression \"a++\": error parsing regexp: invalid nested "
     "repetition operator: `++`"},
    {FILTER_NODES, "Node matches `a{2}{3}`",
     "Failed to compile regular expression \"a{2}{3}\": error parsing regexp: invalid nested "
     "repetition operator: `{2}{3}`"},
    {FILTER_NODES, "Node matches `a{1001}`",
     "Failed to compile regular expression \"a{1001}\": error parsing regexp: invalid repeat "
     "count: `{1001}`"},
};

static void test_errors(void **state) {
    (void)state;
    static const char prefix[] = "Failed to create boolean expression evaluator: ";
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct arena arena;
        struct filter *filter = NULL;
        struct err_text text = {""};
        arena_init(&arena);
        assert_int_equal(
            filter_compile(refused[i].rows, refused[i].expression, "dc1", &arena, &filter, &text),
            ERR_REFUSED);
        assert_memory_equal(text.s, prefix, sizeof prefix - 1);
        assert_string_equal(text.s + sizeof prefix - 1, refused[i].text);
        arena_clear(&arena);
    }
}

static void test_no_filter_keeps_all(void **state) {
    (void)state;
    struct err_text text;
    assert_true(filter_keeps(NULL, NULL));
    assert_int_equal(filter_judge(NULL, &text), ERR_OK);
}

/* ---- hostile input ---- */

static enum err compile_repeated(const char *before, const char *part, unsigned count,
                                 const char *after, struct arena *arena, struct filter **filter,
                                 struct err_text *text) {
    struct buf buf;
    buf_init(&buf, 1 << 20);
    buf_append_str(&buf, before);
    for (unsigned i = 0; i < count; i++) {
        buf_append_str(&buf, part);
    }
    buf_append(&buf, after, strlen(after) + 1);
    arena_init(arena);
    enum err err = filter_compile(FILTER_NODES, buf.data, "dc1", arena, filter, text);
    buf_clear(&buf);
    return err;
}

static void test_bounds(void **state) {
    (void)state;
    static const struct {
        const char *before, *part;
        unsigned count;
        const char *after;
        enum err err;
    } cases[] = {
        {"", "not ", LIMIT_FILTER_DEPTH - 1, "Node == n1", ERR_OK},
        {"", "not ", LIMIT_FILTER_DEPTH, "Node == n1", ERR_REFUSED},
        {"", "(", 2000, "", ERR_REFUSED},
        {"", "(not ", 1600, "", ERR_REFUSED},
        {"", "(Node == n1 and (", 400, "", ERR_REFUSED},
        {"", "Node != x and ", 500, "Node == n1", ERR_OK},
        {"", "Node == x or ", 500, "Node == n1", ERR_OK},
        {"Node", ".x", 4000, " == n1", ERR_REFUSED},
        {"Node != x", ".y", 4000, "", ERR_OK},
        {"Node != `", "x", LIMIT_FILTER_BYTES, "`", ERR_REFUSED},
        {"", "Node matches n and ", LIMIT_FILTER_PATTERNS - 1, "Node matches n", ERR_OK},
        {"", "Node matches n and ", LIMIT_FILTER_PATTERNS, "Node matches n", ERR_REFUSED},
        {"Node matches `", "(", 2000, "`", ERR_REFUSED},
        {"Node matches `", "((a{1000}){1000}){1000}", 1, "`", ERR_REFUSED},
    };
    struct world w;
    world_init(&w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena;
        struct filter *filter = NULL;
        struct err_text text = {""};
        enum err err = compile_repeated(cases[i].before, cases[i].part, cases[i].count,
                                        cases[i].after, &arena, &filter, &text);
        if (err != cases[i].err) {
            fail_msg("%s x %u: %s", cases[i].part, cases[i].count, text.s);
        }
        if (err == ERR_OK && strcmp(cases[i].part, "not ") != 0) {
            assert_true(filter_keeps(filter, &w.node));
        }
        arena_clear(&arena);
    }
    world_clear(&w);
}

static void test_pattern_that_takes_too_long(void **state) {
    (void)state;
    struct world w;
    struct arena arena;
    struct filter *filter = NULL;
    struct err_text text = {""};
    world_init(&w);
    arena_init(&arena);
    w.own.output = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    assert_int_equal(filter_compile(FILTER_CHECKS, "not Output matches `^(a|aa)+$`", "dc1", &arena,
                                    &filter, &text),
                     ERR_OK);
    w.serf.output = "b";
    assert_true(filter_keeps(filter, &w.serf));
    assert_int_equal(filter_judge(filter, &text), ERR_OK);
    assert_false(filter_keeps(filter, &w.own));
    assert_int_equal(filter_judge(filter, &text), ERR_REFUSED);
    assert_string_equal(text.s, "the filter's regular expression \"^(a|aa)+$\" takes more steps "
                                "than this server gives it");
    assert_false(filter_keeps(filter, &w.serf)); /* stays so: the answer is none */
    arena_clear(&arena);
    world_clear(&w);
}

/* Each match is within its bounds, but there are too many of them for one answer. */
static void test_rows_that_take_too_long(void **state) {
    (void)state;
    struct world w;
    struct arena arena;
    struct filter *filter = NULL;
    struct err_text text = {""};
    unsigned rows = 0;
    world_init(&w);
    arena_init(&arena);
    w.own.output = "aaaaaaaaaaaaaaaaaab";
    assert_int_equal(filter_compile(FILTER_CHECKS, "Output not matches `^(a|aa)+$`", "dc1", &arena,
                                    &filter, &text),
                     ERR_OK);
    while (filter_keeps(filter, &w.own)) {
        rows++;
    }
    assert_int_equal(filter_judge(filter, &text), ERR_REFUSED);
    assert_in_range(rows, 100, 1000);
    arena_clear(&arena);
    /* Cheap ones may be any number. */
    arena_init(&arena);
    assert_int_equal(
        filter_compile(FILTER_CHECKS, "Output matches `^a+b$`", "dc1", &arena, &filter, &text),
        ERR_OK);
    for (unsigned i = 0; i < 200000; i++) {
        assert_true(filter_keeps(filter, &w.own));
    }
    arena_clear(&arena);
    world_clear(&w);
}

static void test_text_that_is_not_utf8(void **state) {
    (void)state;
    struct world w;
    struct arena arena;
    struct filter *filter = NULL;
    struct err_text text = {""};
    world_init(&w);
    arena_init(&arena);
    w.own.output = "ok \xff\xfe then \xc3";
    assert_int_equal(
        filter_compile(FILTER_CHECKS, "Output matches `then .*$`", "dc1", &arena, &filter, &text),
        ERR_OK);
    filter_keeps(filter, &w.own);
    assert_int_equal(filter_judge(filter, &text), ERR_OK);
    arena_clear(&arena);
    world_clear(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_filter_keeps_all),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_pattern_that_takes_too_long),
        cmocka_unit_test(test_rows_that_take_too_long),
        cmocka_unit_test(test_text_that_is_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
