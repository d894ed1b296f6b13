/* Definitions of services and checks: what is filled in, what is refused and in which words
 * (contract 7.4, 10.8, 10.10), and that what is written is read back. */
#include "tests/unit/catalog_support.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/duration.h"
#include "catalog/definition.h"
#include "catalog/row.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct arena arena;
static struct err_text text;

static int open_arena(void **state) {
    (void)state;
    arena_init(&arena);
    return 0;
}

static int close_arena(void **state) {
    (void)state;
    arena_clear(&arena);
    return 0;
}

static enum err try_service(const char *json, struct service_definition *service) {
    text.s[0] = '\0';
    return definition_parse_service(json, strlen(json), &arena, service, &text);
}

static struct service_definition service_of(const char *json) {
    struct service_definition service = {0};
    if (try_service(json, &service) != ERR_OK) {
        fail_msg("%s: %s", json, text.s);
    }
    return service;
}

static enum err try_check(const char *json, struct check_definition *check) {
    text.s[0] = '\0';
    return definition_parse_check(json, strlen(json), &arena, check, &text);
}

static struct check_definition check_of(const char *json) {
    struct check_definition check = {0};
    if (try_check(json, &check) != ERR_OK) {
        fail_msg("%s: %s", json, text.s);
    }
    return check;
}

/* ---- services ---- */

static void service_defaults(void **state) {
    (void)state;
    struct service_definition d = service_of("{\"Name\":\"web\"}");
    assert_string_equal(d.service.id, "web");
    assert_string_equal(d.service.name, "web");
    assert_string_equal(d.service.node, "");
    assert_string_equal(d.service.address, "");
    assert_int_equal(d.service.tags.count, 0);
    assert_int_equal(d.service.weight_passing, 1);
    assert_int_equal(d.service.weight_warning, 1);
    assert_int_equal(d.service.tagged_address_count, 0);
    assert_false(d.service.meta.present);
    assert_string_equal(d.service.proxy, "");
    assert_string_equal(d.token, "");
    assert_int_equal(d.check_count, 0);
    d = service_of("{\"Name\":\"web\",\"Weights\":{\"Passing\":5}}");
    assert_int_equal(d.service.weight_passing, 5);
    assert_int_equal(d.service.weight_warning, 0); /* given without Warning */
    d = service_of("{\"Name\":\"web\",\"Check\":{},\"Checks\":null,\"Meta\":{}}");
    assert_int_equal(d.check_count, 0);
    assert_true(d.service.meta.present);
    /* Clients that write every field write an empty check so. */
    d = service_of("{\"Name\":\"web\",\"Check\":{\"Name\":\"\",\"HTTP\":\"\",\"TTL\":\"\","
                   "\"Interval\":\"0s\",\"TLSSkipVerify\":false,\"ScriptArgs\":null}}");
    assert_int_equal(d.check_count, 0);
}

static void tagged_addresses_are_derived(void **state) {
    (void)state;
    struct service_definition d = service_of(
        "{\"Name\":\"w\",\"Address\":\"10.0.0.1\",\"Port\":80,\"TaggedAddresses\":{\"wan_ipv4\":{"
        "\"Address\":\"1.2.3.4\",\"Port\":81},\"a\":{\"Address\":\"x\"}}}");
    static const struct {
        const char *name, *address;
        uint32_t port;
    } expected[] = {{"a", "x", 0}, {"lan_ipv4", "10.0.0.1", 80}, {"wan_ipv4", "1.2.3.4", 81}};
    assert_int_equal(d.service.tagged_address_count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) { /* sorted by name */
        assert_string_equal(d.service.tagged_addresses[i].name, expected[i].name);
        assert_string_equal(d.service.tagged_addresses[i].address, expected[i].address);
        assert_int_equal(d.service.tagged_addresses[i].port, expected[i].port);
    }
    d = service_of("{\"Name\":\"w\",\"Address\":\"2001:db8::1\"}");
    assert_int_equal(d.service.tagged_address_count, 2);
    assert_string_equal(d.service.tagged_addresses[0].name, "lan_ipv6");
    d = service_of("{\"Name\":\"w\",\"Address\":\"host.example\"}");
    assert_int_equal(d.service.tagged_address_count, 0);
}

static void check_ids(void **state) {
    (void)state;
    struct service_definition d =
        service_of("{\"ID\":\"w1\",\"Name\":\"web\",\"Tags\":[\"x\"],\"Check\":{\"TTL\":\"1s\"}}");
    assert_int_equal(d.check_count, 1);
    assert_string_equal(d.checks[0].id, "service:w1");
    assert_string_equal(d.checks[0].name, "Service 'web' check");
    assert_string_equal(d.checks[0].service_id, "w1");
    assert_string_equal(d.checks[0].service_name, "web");
    assert_string_equal(d.checks[0].service_tags.v[0], "x");
    d = service_of("{\"ID\":\"w1\",\"Name\":\"web\",\"Checks\":[{\"TTL\":\"1s\"}]}");
    assert_string_equal(d.checks[0].id, "service:w1");
    /* The position is that in [Check, Checks...]; those with an ID of their own count. */
    d = service_of("{\"ID\":\"w1\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1s\",\"Name\":\"n\"},"
                   "\"Checks\":[{\"TTL\":\"2s\",\"CheckID\":\"own\"},{\"TTL\":\"3s\"}]}");
    assert_int_equal(d.check_count, 3);
    assert_string_equal(d.checks[0].id, "service:w1:1");
    assert_string_equal(d.checks[0].name, "n");
    assert_string_equal(d.checks[1].id, "own");
    assert_string_equal(d.checks[2].id, "service:w1:3");
    assert_int_equal(d.checks[2].ttl_ns, 3 * DURATION_S);
    /* A service named in a check inside a service is not heard. */
    d = service_of("{\"Name\":\"web\",\"Check\":{\"TTL\":\"1s\",\"ServiceID\":\"other\"}}");
    assert_string_equal(d.checks[0].service_id, "web");
}

static const struct refusal {
    const char *json, *text;
} service_refusals[] = {
    {"", "Request decode failed: EOF"},
    {"{\"Name\":\"w\"", "Request decode failed: unexpected EOF"},
    {"{\"Bogus\":1}", "Request decode failed: json: unknown field \"Bogus\""},
    {"{\"Name\":\"w\",\"Check\":{\"Bogus\":1}}",
     "Request decode failed: json: unknown field \"Bogus\""},
    {"{\"Name\":\"w\",\"Check\":{\"TTL\":\"nope\"}}",
     "Request decode failed: time: invalid duration \"nope\""},
    {"{\"Name\":\"w\",\"Check\":{\"TTL\":\"10\"}}",
     "Request decode failed: time: missing unit in duration \"10\""},
    {"{}", "Missing service name"},
    {"{\"ID\":\"x\"}", "Missing service name"},
    {"{\"Name\":\"w\",\"Address\":\"0.0.0.0\"}", "Invalid service address"},
    {"{\"Name\":\"w\",\"Address\":\"::\"}", "Invalid service address"},
    {"{\"Name\":\"w\",\"Weights\":{\"Passing\":0}}",
     "Invalid Weights: Passing must be greater than 0"},
    {"{\"Name\":\"w\",\"Weights\":{\"Passing\":1,\"Warning\":-1}}",
     "Invalid Weights: Warning must be greater or equal than 0"},
    {"{\"Name\":\"w\",\"Weights\":{\"Passing\":65536}}",
     "Invalid Weights: DNS Weight must be between 0 and 65535"},
    {"{\"Name\":\"w\",\"Weights\":{\"Passing\":1,\"Warning\":65536}}",
     "Invalid Weights: DNS Weight must be between 0 and 65535"},
    {"{\"Name\":\"w\",\"Locality\":{\"Zone\":\"z\"}}",
     "Validation failed: zone cannot be set without region"},
    {"{\"Name\":\"w\",\"Meta\":{\"a b\":\"c\"}}",
     "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid "
     "characters"},
    {"{\"Name\":\"w\",\"TaggedAddresses\":{\"lan_ipv4\":{\"Address\":\"::1\"}}}",
     "Service tagged address \"lan_ipv4\" must be a valid ipv4 address"},
    {"{\"Name\":\"w\",\"TaggedAddresses\":{\"wan_ipv6\":{\"Address\":\"1.1.1.1\"}}}",
     "Service tagged address \"wan_ipv6\" must be a valid ipv6 address"},
    {"{\"Name\":\"w\",\"Check\":{\"TTL\":\"1s\",\"Status\":\"bad\"}}",
     "Status for checks must 'passing', 'warning', 'critical'"},
    {"{\"Name\":\"w\",\"Check\":{\"Name\":\"no type\"}}",
     "Invalid check: TTL must be > 0 for TTL checks"},
    {"{\"Name\":\"w\",\"Checks\":[{}]}", "Invalid check: TTL must be > 0 for TTL checks"},
    {"{\"Name\":\"w\",\"Namespace\":\"x\"}",
     "Request decode failed: json: unknown field \"Namespace\" - Namespaces are a Consul "
     "Enterprise feature"},
    {"{\"Name\":\"w\",\"Partition\":\"x\"}",
     "Request decode failed: json: unknown field \"Partition\" - Partitions are a Consul "
     "Enterprise feature"},
};

static void services_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(service_refusals); i++) {
        struct service_definition service;
        enum err err = try_service(service_refusals[i].json, &service);
        assert_string_equal(text.s, service_refusals[i].text);
        /* HTTP tells bad tagged addresses with 500, the others with 400 */
        bool tagged = strncmp(text.s, "Service tagged", 14) == 0;
        assert_int_equal(err, tagged ? ERR_REFUSED : ERR_INVALID);
    }
    service_of("{\"Name\":\"w\",\"Namespace\":\"default\",\"Partition\":\"Default\"}");
}

/* ---- checks ---- */

static const struct refusal check_refusals[] = {
    {"{}", "Missing check name"},
    {"{\"ID\":\"x\",\"TTL\":\"1s\"}", "Missing check name"},
    {"{\"Name\":\"c\",\"TTL\":\"1s\",\"Status\":\"Passing\"}", "Bad check status"},
    {"{\"Name\":\"c\"}", "Invalid check: TTL must be > 0 for TTL checks"},
    {"{\"Name\":\"c\",\"Interval\":\"1s\"}", "Invalid check: TTL must be > 0 for TTL checks"},
    {"{\"Name\":\"c\",\"TTL\":\"-1s\"}", "Invalid check: TTL must be > 0 for TTL checks"},
    {"{\"Name\":\"c\",\"TTL\":\"1s\",\"Interval\":\"1s\"}",
     "Invalid check: Interval and TTL cannot both be specified"},
#define NO_INTERVAL                                                                                \
    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    {"{\"Name\":\"c\",\"HTTP\":\"http://x\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"TCP\":\"x:1\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"UDP\":\"x:1\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"GRPC\":\"x:1\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"H2PING\":\"x:1\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"OSService\":\"x\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"ScriptArgs\":[\"x\"]}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"HTTP\":\"http://x\",\"Interval\":\"-1s\"}", NO_INTERVAL},
    {"{\"Name\":\"c\",\"AliasService\":\"x\",\"HTTP\":\"http://x\",\"Interval\":\"1s\"}",
     "Invalid check: Interval cannot be set for Alias checks"},
    {"{\"Name\":\"c\",\"AliasNode\":\"x\",\"TTL\":\"1s\"}",
     "Invalid check: TTL must be not be set for Alias checks"},
    {"{\"Name\":\"c\",\"TTL\":\"1s\",\"OutputMaxSize\":-1}",
     "Invalid check: MaxOutputMaxSize must be positive"},
    {"{\"Name\":\"c\",\"TTL\":\"1s\",\"FailuresBeforeWarning\":2,\"FailuresBeforeCritical\":1}",
     "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical"},
    {"{\"Name\":\"c\",\"TTL\":\"1s\",\"FailuresBeforeWarning\":2}",
     "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical"},
    {"{\"Name\":\"c\",\"TTL\":true}",
     "Request decode failed: json: cannot unmarshal bool into Go struct field CheckType.TTL of "
     "type time.Duration"},
};

static void checks_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(check_refusals); i++) {
        struct check_definition check;
        enum err err = try_check(check_refusals[i].json, &check);
        assert_string_equal(text.s, check_refusals[i].text);
        assert_int_equal(err, ERR_INVALID);
    }
}

static void check_defaults(void **state) {
    (void)state;
    struct check_definition c = check_of("{\"Name\":\"c\",\"TTL\":\"10s\"}");
    assert_string_equal(c.id, "c");
    assert_string_equal(c.status, "");
    assert_string_equal(c.service_id, "");
    c = check_of("{\"ID\":\"i\",\"Name\":\"c\",\"TTL\":10000000000}");
    assert_string_equal(c.id, "i");
    assert_int_equal(c.ttl_ns, 10 * DURATION_S);
    assert_string_equal(check_of("{\"CheckID\":\"i\",\"Name\":\"c\",\"TTL\":\"1s\"}").id, "i");
    c = check_of("{\"Name\":\"c\",\"HTTP\":\"http://x\",\"Interval\":\"1ms\"}");
    assert_int_equal(c.interval_ns, DURATION_S); /* raised */
    assert_int_equal(c.h2ping_use_tls, 0);
    c = check_of("{\"Name\":\"c\",\"H2PING\":\"x\",\"Interval\":\"1s\",\"H2PingUseTLS\":false}");
    assert_int_equal(c.h2ping_use_tls, -1);
    assert_int_equal(check_definition_kind(&c), CHECK_H2PING);
}

/* Contract 10.10: the first of these that is set names the type. */
static void kinds_by_precedence(void **state) {
    (void)state;
    static const char *const names[] = {"os_service", "h2ping", "script", "docker", "alias",
                                        "udp",        "tcp",    "ttl",    "http",   "grpc"};
    static const char *const args[] = {"x"};
    struct check_definition c = check_of("{\"Name\":\"c\",\"TTL\":\"1s\"}");
    c.ttl_ns = 0;
    assert_string_equal(check_kind_name(check_definition_kind(&c)), "");
    for (size_t i = 0; i < COUNT(names); i++) {
        c.os_service = "x";
        c.h2ping = i >= 1 ? "x" : "";
        c.script_args = (struct str_list){(const char **)(uintptr_t)args, i >= 2};
        c.docker_container_id = i >= 3 ? "x" : "";
        c.alias_service = i >= 4 ? "x" : "";
        c.udp = i >= 5 ? "x" : "";
        c.tcp = i >= 6 ? "x" : "";
        c.ttl_ns = i >= 7;
        c.http = i >= 8 ? "x" : "";
        c.grpc = i >= 9 ? "x" : "";
        assert_string_equal(check_kind_name(check_definition_kind(&c)), names[i]);
    }
    c = check_of("{\"Name\":\"c\",\"AliasNode\":\"n\"}");
    assert_int_equal(check_definition_kind(&c), CHECK_ALIAS);
}

/* Longer ones would fit no key: they are refused here, wherever they come from. */
static void ids_are_limited(void **state) {
    (void)state;
    struct service_definition service;
    struct check_definition check;
    char id[600], json[1024];
    static const struct {
        const char *format, *text;
    } rows[] = {
        {"{\"Name\":\"%s\"}", "Service name and ID are limited to 512 bytes"},
        {"{\"Name\":\"w\",\"ID\":\"%s\"}", "Service name and ID are limited to 512 bytes"},
        {"{\"Name\":\"w\",\"Check\":{\"CheckID\":\"%s\",\"TTL\":\"1s\"}}",
         "Check IDs are limited to 512 bytes"},
        {"{\"Name\":\"w\",\"Checks\":[{\"TTL\":\"1s\"},{\"ID\":\"%s\",\"TTL\":\"1s\"}]}",
         "Check IDs are limited to 512 bytes"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t size = 511; size < 514; size++) {
            memset(id, 'i', size);
            id[size] = '\0';
            snprintf(json, sizeof json, rows[i].format, id);
            enum err err = try_service(json, &service);
            assert_int_equal(err, size <= 512 ? ERR_OK : ERR_INVALID);
            assert_string_equal(text.s, size <= 512 ? "" : rows[i].text);
        }
    }
    /* The check's own default is longer than the service's ID. */
    id[510] = '\0';
    snprintf(json, sizeof json, "{\"Name\":\"%s\",\"Check\":{\"TTL\":\"1s\"}}", id);
    assert_int_equal(try_service(json, &service), ERR_INVALID);
    assert_string_equal(text.s, "Check IDs are limited to 512 bytes");
    id[510] = 'i';
    id[513] = '\0';
    snprintf(json, sizeof json, "{\"Name\":\"%s\",\"TTL\":\"1s\"}", id);
    assert_int_equal(try_check(json, &check), ERR_INVALID);
    assert_string_equal(text.s, "Check IDs are limited to 512 bytes");
}

/* ---- both spellings, there and back ---- */

static const char camel_check[] =
    "{\"CheckID\":\"i\",\"Name\":\"n\",\"Notes\":\"o\",\"Status\":\"warning\",\"ServiceID\":\"s\","
    "\"Token\":\"t\",\"HTTP\":\"http://x\",\"Method\":\"PUT\",\"Body\":\"b\",\"Header\":{\"H\":"
    "[\"1\",\"2\"],\"A\":[]},\"DisableRedirects\":true,\"TCP\":\"x:1\",\"TCPUseTLS\":true,"
    "\"UDP\":\"x:2\",\"GRPC\":\"x:3\",\"GRPCUseTLS\":true,\"H2PING\":\"x:4\",\"H2PingUseTLS\":"
    "false,\"ScriptArgs\":[\"a\",\"b\"],\"DockerContainerID\":\"d\",\"Shell\":\"/bin/sh\","
    "\"OSService\":\"os\",\"TLSServerName\":\"name\",\"TLSSkipVerify\":true,\"Interval\":\"90s\","
    "\"Timeout\":\"1500ms\",\"DeregisterCriticalServiceAfter\":\"90m\",\"SuccessBeforePassing\":3,"
    "\"FailuresBeforeWarning\":1,\"FailuresBeforeCritical\":2,\"OutputMaxSize\":100}";

static const char snake_check[] =
    "{\"check_id\":\"i\",\"name\":\"n\",\"notes\":\"o\",\"status\":\"warning\",\"service_id\":"
    "\"s\",\"token\":\"t\",\"http\":\"http://x\",\"method\":\"PUT\",\"body\":\"b\",\"header\":{"
    "\"H\":[\"1\",\"2\"],\"A\":[]},\"disable_redirects\":true,\"tcp\":\"x:1\",\"tcp_use_tls\":true,"
    "\"udp\":\"x:2\",\"grpc\":\"x:3\",\"grpc_use_tls\":true,\"h2ping\":\"x:4\",\"h2ping_use_tls\":"
    "false,\"args\":[\"a\",\"b\"],\"docker_container_id\":\"d\",\"shell\":\"/bin/sh\","
    "\"os_service\":\"os\",\"tls_server_name\":\"name\",\"tls_skip_verify\":true,\"interval\":"
    "90000000000,\"timeout\":\"1.5s\",\"deregister_critical_service_after\":\"1h30m\","
    "\"success_before_passing\":3,\"failures_before_warning\":1,\"failures_before_critical\":2,"
    "\"output_max_size\":100}";

static const char *write_check(const struct check_definition *check) {
    struct buf out;
    struct json json;
    buf_init(&out, 100000);
    json_init(&json, &out, false);
    definition_write_check(&json, check);
    const char *copy = arena_strndup(&arena, out.data, out.count);
    buf_clear(&out);
    return copy;
}

static void checks_round_trip(void **state) {
    (void)state;
    struct check_definition camel = check_of(camel_check), snake = check_of(snake_check);
    const char *written = write_check(&camel);
    assert_string_equal(write_check(&snake), written);
    struct check_definition back = check_of(written);
    assert_string_equal(write_check(&back), written);
    assert_string_equal(back.header.v[1].values.v[1], "2");
    assert_int_equal(back.timeout_ns, 1500 * DURATION_MS);
    assert_string_equal(written,
                        "{\"CheckID\":\"i\",\"Name\":\"n\",\"Notes\":\"o\",\"Status\":\"warning\","
                        "\"ServiceID\":\"s\",\"Token\":\"t\",\"HTTP\":\"http://x\","
                        "\"TLSServerName\":\"name\",\"TLSSkipVerify\":true,\"Header\":{\"A\":[],"
                        "\"H\":[\"1\",\"2\"]},\"Method\":\"PUT\",\"Body\":\"b\","
                        "\"DisableRedirects\":true,\"TCP\":\"x:1\",\"TCPUseTLS\":true,"
                        "\"UDP\":\"x:2\",\"H2PING\":\"x:4\",\"OSService\":\"os\","
                        "\"H2PingUseTLS\":false,\"Interval\":\"1m30s\",\"Timeout\":\"1.5s\","
                        "\"DeregisterCriticalServiceAfter\":\"1h30m0s\",\"OutputMaxSize\":100,"
                        "\"ScriptArgs\":[\"a\",\"b\"],\"DockerContainerID\":\"d\","
                        "\"Shell\":\"/bin/sh\",\"GRPC\":\"x:3\",\"GRPCUseTLS\":true,"
                        "\"SuccessBeforePassing\":3,\"FailuresBeforeWarning\":1,"
                        "\"FailuresBeforeCritical\":2}");
    struct check_definition ttl = check_of("{\"Name\":\"c\",\"TTL\":\"90s\"}");
    back = check_of(write_check(&ttl));
    assert_int_equal(back.ttl_ns, 90 * DURATION_S);
    struct check_definition alias =
        check_of("{\"Name\":\"c\",\"alias_node\":\"n\",\"alias_service\":\"s\"}");
    back = check_of(write_check(&alias));
    assert_string_equal(back.alias_node, "n");
    assert_string_equal(back.alias_service, "s");
}

/* The copy owns all it shows. */
static void check_copies_are_deep(void **state) {
    (void)state;
    struct check_definition check = check_of(camel_check);
    struct check_definition *copy = check_definition_copy(&check);
    char *written = strdup(write_check(&check));
    arena_clear(&arena);
    assert_string_equal(write_check(copy), written);
    free(copy);
    free(written);
}

static const char camel_service[] =
    "{\"Kind\":\"typical\",\"ID\":\"w1\",\"Name\":\"web\",\"Tags\":[\"b\",\"a\"],\"Address\":"
    "\"10.0.0.1\",\"Port\":80,\"SocketPath\":\"/s\",\"TaggedAddresses\":{\"wan\":{\"Address\":"
    "\"1.1.1.1\",\"Port\":81}},\"Meta\":{\"k\":\"v\"},\"Weights\":{\"Passing\":3,\"Warning\":0}"
    ","
    "\"EnableTagOverride\":true,\"Locality\":{\"Region\":\"r\",\"Zone\":\"z\"},\"Token\":\"t\","
    "\"Proxy\":{\"b\":[1],\"a\":null},\"Connect\":{\"Native\":true}}";

static void services_round_trip(void **state) {
    (void)state;
    static const char snake[] =
        "{\"kind\":\"typical\",\"id\":\"w1\",\"name\":\"web\",\"tags\":[\"b\",\"a\"],\"address\":"
        "\"10.0.0.1\",\"port\":80,\"socket_path\":\"/s\",\"tagged_addresses\":{\"wan\":{"
        "\"address\":\"1.1.1.1\",\"port\":81}},\"meta\":{\"k\":\"v\"},\"weights\":{\"passing\":3,"
        "\"warning\":0},\"enable_tag_override\":true,\"locality\":{\"region\":\"r\",\"zone\":\"z\"}"
        ","
        "\"token\":\"t\",\"proxy\":{\"b\":[1],\"a\":null},\"connect\":{\"Native\":true}}";
    struct service_definition a = service_of(camel_service), b = service_of(snake);
    assert_int_equal(row_hash_service(&a.service), row_hash_service(&b.service));
    assert_string_equal(a.token, "t");
    assert_string_equal(a.service.proxy, "{\"a\":null,\"b\":[1]}");
    for (int pretty = 0; pretty < 2; pretty++) {
        struct buf out;
        struct json json;
        buf_init(&out, 100000);
        json_init(&json, &out, pretty);
        definition_write_service(&json, &a);
        struct service_definition back = service_of(arena_strndup(&arena, out.data, out.count));
        assert_int_equal(row_hash_service(&back.service), row_hash_service(&a.service));
        assert_string_equal(back.token, "t");
        buf_clear(&out);
    }
    struct service_definition bare = service_of("{\"Name\":\"w\"}");
    struct buf out;
    struct json json;
    buf_init(&out, 100000);
    json_init(&json, &out, false);
    definition_write_service(&json, &bare);
    struct service_definition back = service_of(arena_strndup(&arena, out.data, out.count));
    assert_int_equal(row_hash_service(&back.service), row_hash_service(&bare.service));
    buf_clear(&out);
}

/* ---- damaged texts ---- */

static char *damage(struct rand *rand, const char *json) {
    static const char *const words[] = {
        "null", "{}", "[]", "\"\"", "-1", "1e99", "true", "\"\\u0041\"", "99999999999999999999",
        ":",    ",",  "}"};
    size_t size = strlen(json), at = rand_below(rand, size);
    char *text_of = malloc(size + 64);
    memcpy(text_of, json, size + 1);
    for (uint64_t n = 1 + rand_below(rand, 2); n > 0; n--) {
        const char *word = words[rand_below(rand, COUNT(words))];
        char *colon = strchr(text_of + at, ':');
        at = rand_below(rand, size);
        if (rand_below(rand, 3) > 0 && colon != NULL) { /* a value becomes another */
            size_t gap = strcspn(colon + 1, ",}]");
            char *rest = strdup(colon + 1 + gap);
            size_t room = size + 64 - (size_t)(colon + 1 - text_of);
            snprintf(colon + 1, room, "%s%s", word, rest);
            free(rest);
        } else {
            text_of[at < strlen(text_of) ? at : 0] = (char)rand_next(rand);
        }
        at = at < strlen(text_of) ? at : 0;
    }
    return text_of;
}

/* Refused with a sentence, or taken: then what is written is read back as the same. */
static void damaged_texts(void **state) {
    (void)state;
    struct rand rand;
    unsigned taken = 0, refused = 0;
    rand_init(&rand, 17);
    for (int i = 0; i < 6000; i++) {
        struct service_definition service;
        struct check_definition check;
        char *json = damage(&rand, i % 2 ? camel_service : camel_check);
        enum err err = i % 2 ? try_service(json, &service) : try_check(json, &check);
        taken += err == ERR_OK;
        refused += err != ERR_OK;
        assert_true((err == ERR_OK) == (text.s[0] == '\0'));
        if (err == ERR_OK && i % 2 == 0) {
            const char *written = write_check(&check);
            struct check_definition back = check_of(written);
            assert_string_equal(write_check(&back), written);
        } else if (err == ERR_OK) {
            struct buf out;
            struct json writer;
            buf_init(&out, 100000);
            json_init(&writer, &out, true);
            definition_write_service(&writer, &service);
            struct service_definition back = service_of(arena_strndup(&arena, out.data, out.count));
            if (row_hash_service(&back.service) != row_hash_service(&service.service)) {
                fail_msg("%s is written as %.*s", json, (int)out.count, out.data);
            }
            buf_clear(&out);
        }
        free(json);
        arena_clear(&arena);
    }
    assert_true(taken > 200 && refused > 200);
}

/* ---- metadata ---- */

static void metadata_rules(void **state) {
    (void)state;
    char long_key[200], long_value[600], expected[ERR_TEXT_BYTES];
    struct str_pair pairs[65];
    struct str_map map = {.v = pairs, .count = 1, .present = true};
    memset(long_key, 'k', sizeof long_key);
    memset(long_value, 'v', sizeof long_value);
    long_key[128] = long_value[512] = '\0';
    pairs[0] = (struct str_pair){long_key, long_value};
    assert_int_equal(definition_check_meta(&map, &text), ERR_OK);
    pairs[0] = (struct str_pair){"Az09_-", ""};
    assert_int_equal(definition_check_meta(&map, &text), ERR_OK);
    static const struct {
        const char *key, *why;
    } rows[] = {{"", "Key cannot be blank"},
                {"a.b", "Key contains invalid characters"},
                {"\xc3\xa9", "Key contains invalid characters"},
                {"consul-version", "Key prefix 'consul-' is reserved for internal use"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        pairs[0] = (struct str_pair){rows[i].key, "v"};
        snprintf(expected, sizeof expected, "Couldn't load metadata pair ('%s', 'v'): %s",
                 rows[i].key, rows[i].why);
        assert_int_equal(definition_check_meta(&map, &text), ERR_INVALID);
        assert_string_equal(text.s, expected);
    }
    long_key[128] = 'k';
    long_key[129] = '\0';
    pairs[0] = (struct str_pair){long_key, "v"};
    assert_int_equal(definition_check_meta(&map, &text), ERR_INVALID);
    assert_non_null(strstr(text.s, "): Key is too long (limit: 128 characters)"));
    long_value[512] = 'v';
    long_value[513] = '\0';
    pairs[0] = (struct str_pair){"k", long_value};
    assert_int_equal(definition_check_meta(&map, &text), ERR_INVALID);
    assert_non_null(strstr(text.s, "): Value is too long (limit: 512 characters)"));
    for (size_t i = 0; i < 65; i++) {
        pairs[i] = (struct str_pair){"k", "v"};
    }
    map.count = 64;
    assert_int_equal(definition_check_meta(&map, &text), ERR_OK);
    map.count = 65;
    assert_int_equal(definition_check_meta(&map, &text), ERR_INVALID);
    assert_string_equal(text.s, "Node metadata cannot contain more than 64 key/value pairs");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(service_defaults),    TEST(tagged_addresses_are_derived),
        TEST(check_ids),           TEST(services_refused),
        TEST(checks_refused),      TEST(check_defaults),
        TEST(ids_are_limited),     TEST(kinds_by_precedence),
        TEST(checks_round_trip),   TEST(check_copies_are_deep),
        TEST(services_round_trip), TEST(damaged_texts),
        TEST(metadata_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
