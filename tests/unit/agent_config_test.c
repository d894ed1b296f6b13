/* Configuration: sources and their order, what is refused and in which words, and that the table of
 * keys, docs/CONFIG.md and the parser agree. CAIRN_REWRITE=1 writes the rows of docs/CONFIG.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_table.h"
#include "agent/config_template.h"
#include "base/duration.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SERVER "-server", "-bootstrap", "-data-dir=/nonexistent/cairn", "-bind=127.0.0.1"

struct fixture {
    struct arena arena;
    struct config config;
    const char *error;
    char folder[64];
};

static int open_fixture(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->arena);
    strcpy(f->folder, "/tmp/cairn-config-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    arena_clear(&f->arena);
    free(f);
    return 0;
}

static const char *write_file(struct fixture *f, const char *name, const char *text) {
    const char *path = arena_format(&f->arena, "%s/%s", f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
    return path;
}

static enum err load(struct fixture *f, int argc, const char *const *argv) {
    struct config_source source = {.argc = argc, .argv = (char **)(uintptr_t)argv};
    enum config_outcome outcome;
    f->error = "";
    return config_load(&source, &f->arena, &f->config, &outcome, &f->error);
}

#define LOAD(f, ...)                                                                               \
    load(f, (int)COUNT(((const char *const[]){__VA_ARGS__})), (const char *const[]){__VA_ARGS__})

/* A server's flags and one fragment of HCL. */
static enum err load_hcl(struct fixture *f, const char *hcl) {
    return LOAD(f, SERVER, arena_format(&f->arena, "-hcl=%s", hcl));
}

static void take(struct fixture *f, const char *hcl) {
    if (load_hcl(f, hcl) != ERR_OK) {
        fail_msg("%s: %s", hcl, f->error);
    }
}

static bool warns(const struct fixture *f, const char *text) {
    for (uint32_t i = 0; i < f->config.warnings.count; i++) {
        if (strstr(f->config.warnings.v[i], text) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- sources ---- */

static void defaults_and_dev(void **state) {
    struct fixture *f = *state;
    assert_int_equal(LOAD(f, SERVER), ERR_OK);
    assert_string_equal(f->config.datacenter, "dc1");
    assert_string_equal(f->config.primary_datacenter, "dc1");
    assert_string_equal(f->config.domain, "consul.");
    assert_int_equal(f->config.http_port, 8500);
    assert_int_equal(f->config.http_listen.count, 1);
    assert_int_equal(f->config.max_query_time_ns, 600 * DURATION_S);
    assert_int_equal(f->config.leave_on_terminate, -1);
    assert_int_equal(f->config.skip_leave_on_interrupt, 1);
    assert_int_equal(LOAD(f, "-dev"), ERR_OK);
    assert_true(f->config.dev && f->config.server && f->config.bootstrap);
    assert_int_equal(f->config.log.level, LOG_DEBUG);
    assert_int_equal(LOAD(f, "-dev", "-bootstrap-expect=1"), ERR_OK);
    assert_int_equal(LOAD(f, "-dev=false"), ERR_INVALID);
}

static void later_sources_win(void **state) {
    struct fixture *f = *state;
    const char *one = write_file(f, "one.json",
                                 "{\"node_name\":\"one\",\"datacenter\":\"One\","
                                 "\"node_meta\":{\"a\":\"1\",\"b\":\"1\"},"
                                 "\"recursors\":[\"1.1.1.1\"],\"http_config\":{\"block_endpoints\":"
                                 "[\"/one\"]},\"service\":{\"name\":\"s1\"}}");
    const char *two = write_file(f, "two.hcl",
                                 "node_name = \"two\"\nnode_meta { b = \"2\" c = \"2\" }\n"
                                 "http_config { block_endpoints = [\"/two\"] }\n"
                                 "services { name = \"s2\" } service { name = \"s3\" }\n"
                                 "ports { http = 1234 }");
    assert_int_equal(LOAD(f, SERVER, "-config-file", one, "-config-file", two, "-node=flag",
                          "-node-meta=c:3", "-node-meta", "d:4", "-hcl", "node_name = \"hcl\"",
                          "-hcl", "ports { dns = 5 }"),
                     ERR_OK);
    const struct config *c = &f->config;
    assert_string_equal(c->node_name, "hcl");
    assert_string_equal(c->datacenter, "one");
    assert_int_equal(c->http_port, 1234); /* an object is laid over key by key */
    assert_int_equal(c->dns_port, 5);
    assert_int_equal(c->node_meta.count, 4);
    assert_string_equal(str_map_get(&c->node_meta, "a"), "1");
    assert_string_equal(str_map_get(&c->node_meta, "b"), "2");
    assert_string_equal(str_map_get(&c->node_meta, "c"), "3");
    assert_int_equal(c->http.block_endpoints.count, 2); /* lists are joined */
    assert_string_equal(c->http.block_endpoints.v[0], "/one");
    assert_int_equal(c->service_count, 3);
    assert_string_equal(c->services[0].service.name, "s1");
    assert_string_equal(c->services[2].service.name, "s3");
    /* flags that are lists come before files */
    const char *cidr = write_file(f, "c.json",
                                  "{\"http_config\":{\"allow_write_http_from\":"
                                  "[\"10.0.0.0/8\"]}}");
    assert_int_equal(LOAD(f, SERVER, "-config-file", cidr, "-allow-write-http-from=::1/128"),
                     ERR_OK);
    assert_string_equal(f->config.http.allow_write_from.v[0], "::1/128");
    assert_string_equal(f->config.http.allow_write_from.v[1], "10.0.0.0/8");
}

static void files_and_folders(void **state) {
    struct fixture *f = *state;
    write_file(f, "1.json", "{\"node_name\":\"a\"}");
    write_file(f, "2.hcl", "node_name = \"b\"");
    write_file(f, "empty.json", "");
    write_file(f, "note.txt", "nonsense");
    assert_int_equal(mkdir(arena_format(&f->arena, "%s/sub.json", f->folder), 0700), 0);
    assert_int_equal(LOAD(f, SERVER, "-config-dir", f->folder), ERR_OK);
    assert_string_equal(f->config.node_name, "b");
    assert_true(warns(f, "/note.txt, extension must be .hcl or .json, or config format must be "
                         "set"));
    const char *odd = write_file(f, "odd.conf", "node_name = \"odd\"");
    assert_int_equal(LOAD(f, SERVER, "-config-file", odd), ERR_INVALID);
    assert_non_null(strstr(f->error, "odd.conf has unknown extension; must be .hcl or .json, or "
                                     "config format must be set"));
    assert_int_equal(LOAD(f, SERVER, "-config-format=hcl", "-config-file", odd), ERR_OK);
    assert_string_equal(f->config.node_name, "odd");
    assert_int_equal(LOAD(f, SERVER, "-config-format=yaml"), ERR_INVALID);
    assert_string_equal(f->error, "config: -config-format must be either 'hcl' or 'json'");
    const char *bad = write_file(f, "bad.hcl", "a = 1\nb = \"\n");
    assert_int_equal(LOAD(f, SERVER, "-config-file", bad), ERR_INVALID);
    assert_string_equal(
        f->error,
        arena_format(&f->arena, "failed to parse %s: At 2:6: literal not terminated", bad));
    assert_int_equal(LOAD(f, SERVER, "-config-file=/nonexistent.json"), ERR_INVALID);
}

static void flags(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *flag, *error;
    } rows[] = {
        {"-nope", "flag provided but not defined: -nope"},
        {"-http-port", "flag needs an argument: -http-port"},
        {"-http-port=abc", "invalid value \"abc\" for flag -http-port: parse error"},
        {"-server=perhaps", "invalid boolean value \"perhaps\" for -server: parse error"},
        {"-node-meta=x", "invalid value \"x\" for flag -node-meta: parse error"},
        {"-max-query-time=5", "invalid value \"5\" for flag -max-query-time: parse error"},
        {"extra", "Unexpected extra arguments: [extra]"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(load(f, 1, &rows[i].flag), ERR_INVALID);
        assert_string_equal(f->error, rows[i].error);
    }
    assert_int_equal(LOAD(f, SERVER, "--log-json", "-join=1.2.3.4"), ERR_OK);
    assert_true(f->config.log.json);
    assert_true(warns(f, "The flag '-join' is deprecated. Use the '-retry-join' flag instead."));
}

/* ---- decoding ---- */

static void every_key_is_known_and_typed(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        bool raw = key->kind == DECODE_RAW;
        struct config_load *load = arena_alloc(&f->arena, sizeof *load);
        config_load_init(load, &f->arena);
        /* {"a":{"b":<wrong>}} for a.b; a value of no key's type but RAW's */
        char json[512] = "", tail[64] = "";
        const char *at = key->path;
        while (strchr(at, '.') != NULL) {
            size_t size = strcspn(at, ".");
            sprintf(json + strlen(json), "{\"%.*s\":", (int)size, at);
            strcat(tail, "}");
            at += size + 1;
        }
        const char *wrong =
            key->kind == DECODE_STR_LIST || key->kind == DECODE_OBJECTS ? "{\"x\":1}" : "[1,2]";
        sprintf(json + strlen(json), "{\"%s\":%s}%s", at, wrong, tail);
        enum err err = config_decode(load, json, strlen(json));
        if ((err == ERR_OK) != raw) {
            fail_msg("%s: %s", json, err == ERR_OK ? "accepted" : load->error);
        }
        if (!raw && strstr(load->error, key->path) == NULL) {
            fail_msg("%s: the error does not name the key: %s", json, load->error);
        }
        assert_ptr_equal(config_key_find(key->path), key);
        if (key->effect == CONFIG_RENAMED) {
            assert_non_null(config_key_find(key->note));
        }
    }
}

static void errors_of_decoding(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *hcl, *error;
    } rows[] = {
        {"server = \"yes\"", "failed to parse flags-0.hcl: 1 error(s) decoding:\n\n* 'server' "
                             "expected type 'bool', got unconvertible type 'string'"},
        {"bogus = 1", "failed to parse flags-0.hcl: 1 error occurred:\n\t* invalid config key "
                      "bogus"},
        {"bogus = 1\nservices { name = \"a\" }\nservices { name = \"b\" check { x = 1 } }",
         "failed to parse flags-0.hcl: 2 errors occurred:\n\t* invalid config key bogus\n\t* "
         "invalid config key services[1].check.x"},
        {"dns_config { } dns_config { }", "'dns_config' expected"},
        {"max_query_time = \"5\"", "max_query_time: invalid duration: \"5\": "},
        {"ports { dns = 70000 }", "ports.dns: invalid port: 70000"},
        {"service { name = \"a\" namespace = \"b\" }", "invalid config key service.namespace"},
        {"service { name = \"a\" proxy { upstreams { destination = 1 } } }",
         "invalid config key service.proxy.upstreams[0].destination"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(load_hcl(f, rows[i].hcl) != ERR_OK);
        if (strstr(f->error, rows[i].error) == NULL) {
            fail_msg("%s\n  gives %s", rows[i].hcl, f->error);
        }
    }
    /* All unknown keys are told, however many there are. */
    char many[8192] = "";
    for (int i = 0; i < 300; i++) {
        sprintf(many + strlen(many), "k%d = 1\n", i);
    }
    assert_int_equal(load_hcl(f, many), ERR_UNKNOWN_KEY);
    assert_non_null(strstr(f->error, "300 errors occurred:\n"));
    assert_non_null(strstr(f->error, "\t* invalid config key k299"));
}

static void spellings(void **state) {
    struct fixture *f = *state;
    take(f, "Node_Name = \"x\"\nSERVICE { Name = \"a\" check { TTL = \"1m\" } }");
    assert_string_equal(f->config.node_name, "x");
    take(f, "check { name = \"c\" ttl = \"1s\" serviceid = \"s\" tlsskipverify = true "
            "deregistercriticalserviceafter = \"2m\" }");
    assert_string_equal(f->config.checks[0].service_id, "s");
    assert_int_equal(f->config.checks[0].deregister_critical_after_ns, 120 * DURATION_S);
    take(f, "enable_local_script_checks = true\ncheck { name = \"c\" interval = \"5s\" "
            "scriptargs = [\"old\"] args = [\"new\"] }");
    assert_int_equal(f->config.checks[0].script_args.count, 1);
    assert_string_equal(f->config.checks[0].script_args.v[0], "new");
}

/* ---- rules ---- */

static void refusals(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *hcl, *error;
    } rows[] = {
        {"acl { enabled = true }", "acl.enabled: this version has no access control"},
        {"acl_datacenter = \"dc1\"", "acl.enabled: "},
        {"encrypt = \"x\"", "encrypt has invalid key: "},
        {"verify_incoming = true", "tls.defaults.verify_incoming: "},
        {"tls { internal_rpc { verify_server_hostname = true } }", "verify_server_hostname: "},
        {"tls { grpc { verify_outgoing = true } }",
         "verify_outgoing is not valid in the tls.grpc stanza"},
        {"auto_config { enabled = true }", "auto_config is not supported"},
        {"connect { enable_mesh_gateway_wan_federation = true }", "mesh gateways"},
        {"segment = \"alpha\"", "network segments are not supported"},
        {"datacenter = \"a b\"", "datacenter can only contain lowercase alphanumeric, - or _ "
                                 "characters."},
        {"bootstrap = false\nbootstrap_expect = -1", "bootstrap_expect cannot be -1"},
        {"bootstrap_expect = 3",
         "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive"},
        {"server = false", "'bootstrap = true' requires 'server = true'"},
        {"data_dir = \"/dev/null\"", "data_dir \"/dev/null\" is not a directory"},
        {"node_meta { consul-x = \"1\" }", "node_meta invalid: "},
        {"node_id = \"x\"", "node_id: not a UUID"},
        {"alt_domain = \"node.x\"", "alt_domain cannot start with {service,connect,node,query,addr,"
                                    "dc1}"},
        {"raft_protocol = 2", "raft_protocol version 2 is not supported by this version of Consul"},
        {"autopilot { max_trailing_logs = -1 }",
         "autopilot.max_trailing_logs cannot be -1. Must be greater than or equal to zero"},
        {"performance { raft_multiplier = 11 }",
         "performance.raft_multiplier cannot be 11. Must be between 1 and 10"},
        {"limits { request_limits { mode = \"x\" } }",
         "limits.request_limits.mode: invalid mode: \"x\""},
        {"bind_addr = \"127.0.0.1 127.0.0.2\"", "bind_addr cannot contain multiple addresses"},
        {"bind_addr = \"unix:///x\"", "bind_addr cannot be a unix socket"},
        {"bind_addr = \"host\"", "bind_addr cannot be empty"},
        {"bind_addr = \"{{ GetAllInterfaces }}\"", "this version knows GetPrivateIP"},
        {"advertise_addr = \"1.1.1.1 2.2.2.2\"",
         "advertise_addr: multiple addresses found: 1.1.1.1 2.2.2.2"},
        {"advertise_addr = \"0.0.0.0\"", "Advertise address cannot be 0.0.0.0, :: or [::]"},
        {"ports { server = 0 }", "server-port must be greater than zero"},
        {"ports { http = 8600 }", "HTTP address 127.0.0.1:8600 already configured for DNS"},
        {"ports { serf_lan = 8300 }",
         "Serf Advertise LAN address 127.0.0.1:8300 already configured for RPC Advertise"},
        {"ports { proxy_min_port = 3 proxy_max_port = 2 }", "proxy_min_port must be less than"},
        {"log_level = \"loud\"", "Invalid log level: loud. Valid log levels are: [TRACE DEBUG INFO "
                                 "WARN ERR ERROR]"},
        {"locality { zone = \"z\" }", "zone cannot be set without region"},
        {"http_config { allow_write_http_from = [\"10.0.0.0\"] }", "invalid CIDR address"},
        {"check { name = \"c\" args = [\"x\"] interval = \"5s\" }",
         "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
         "'enable_local_script_checks' to true"},
        {"check { name = \"c\" http = \"x\" }", "Failed to register check \"c\": Invalid check: "
                                                "Interval must be > 0"},
        {"service { port = 1 }", "Missing service name"},
        {"service { name = \"a\" socket_path = \"/x\" port = 1 }", "socket_path cannot be used"},
        {"service { name = \"a\" connect { sidecar_service { id = \"x\" } } }",
         "sidecar_service can't specify an ID"},
        {"service { name = \"a\" meta { \" \" = \"x\" } }", "invalid meta for service a: "},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (load_hcl(f, rows[i].hcl) == ERR_OK || strstr(f->error, rows[i].error) == NULL) {
            fail_msg("%s\n  gives %s", rows[i].hcl, f->error);
        }
    }
    assert_int_equal(LOAD(f, "-server", "-bootstrap"), ERR_INVALID);
    assert_string_equal(f->error, "data_dir cannot be empty");
    assert_int_equal(LOAD(f, "-dev", "-bootstrap-expect=3"), ERR_INVALID);
    assert_string_equal(f->error, "'bootstrap_expect > 0' not allowed in dev mode");
}

static void warnings(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *hcl, *warning; /* NULL: nothing about the key */
    } rows[] = {
        {"retry_join = [\"1.2.3.4\"]", NULL},
        {"enable_agent_tls_for_checks = true",
         "The 'enable_agent_tls_for_checks' field has no effect in this version."},
        {"recursors = [\"1.2.3.4\"]", NULL},
        {"start_join = [\"1.2.3.4\"]",
         "The 'start_join' field is deprecated. Use the 'retry_join' field instead."},
        {"ui_config { enabled = true }", "The 'ui_config.enabled' field is ignored."},
        {"read_replica = true",
         "\"read_replica (or the deprecated non_voting_server)\" is a Consul "
         "Enterprise configuration and will have no effect"},
        {"non_voting_server = true", "(or the deprecated non_voting_server)"},
        {"acl_enforce_version_8 = true",
         "config key \"acl_enforce_version_8\" is deprecated and should be removed"},
        {"license_path = \"/x\"",
         "\"license_path\" is a Consul Enterprise configuration and will have no effect"},
        {"client_addr = \"\"", "client_addr is empty, client services"},
        {"node_name = \"a.b\"", "will not be discoverable via DNS"},
        {"bootstrap = true", "bootstrap = true: do not enable unless necessary"},
        /* what others write without a thought */
        {"version = \"1.21.4\"", NULL},
        {"segments = []", NULL},
        {"read_replica = false", NULL},
        {"ports { grpc = -1 grpc_tls = 8503 }", NULL},
        {"performance { raft_multiplier = 5 }", NULL},
        {"retry_join = []", NULL},
        {"retry_interval = \"30000ms\"", NULL},
        {"limits { rpc_rate = -1 }", NULL},
        {"connect { enabled = false }", NULL},
    };
    assert_int_equal(LOAD(f, SERVER), ERR_OK);
    uint32_t usual = f->config.warnings.count;
    for (size_t i = 0; i < COUNT(rows); i++) {
        take(f, rows[i].hcl);
        if (rows[i].warning != NULL ? !warns(f, rows[i].warning)
                                    : f->config.warnings.count != usual) {
            fail_msg("%s: %u warnings, the last is %s", rows[i].hcl, f->config.warnings.count,
                     f->config.warnings.v[f->config.warnings.count - 1]);
        }
    }
}

static void addresses(void **state) {
    struct fixture *f = *state;
    take(f, "client_addr = \"127.0.0.2  ::1\"\naddresses { http = \"127.0.0.3 unix:///a/b\" }\n"
            "advertise_addr_ipv6 = \"[fd00::1]\"");
    assert_int_equal(f->config.dns_listen.count, 2);
    assert_int_equal(f->config.http_listen.count, 1);
    assert_int_equal(f->config.http_listen.path_count, 1);
    assert_string_equal(f->config.http_listen.paths[0], "/a/b");
    assert_string_equal(f->config.advertise_addr_ipv6, "fd00::1");
    take(f, "ports { http = -1 dns = 0 }\nclient_addr = \"{{ GetInterfaceIP \\\"^lo$\\\" }}\"");
    assert_int_equal(f->config.http_listen.count + f->config.dns_listen.count, 0);
    take(f, "client_addr = \"{{ GetInterfaceIP \\\"^lo$\\\" }} 127.0.0.9\"");
    char ip[ADDR_TEXT_BYTES];
    addr_format_ip(&f->config.http_listen.v[0], ip);
    assert_string_equal(ip, "127.0.0.1");
    assert_int_equal(f->config.http_listen.count, 2);
    static const char *const bad[] = {"{{ GetPrivateIP", "{{ }}", "{{ GetInterfaceIP }}",
                                      "{{ GetInterfaceIP \"(\" }}", "{{ GetPrivateIP \"x\" }}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err_text text = {""};
        const char *out;
        assert_true(template_expand(bad[i], &f->arena, &out, &text) != ERR_OK);
        assert_true(text.s[0] != '\0');
    }
}

static void recursors(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *given, *all;
    } good[] = {
        {"\"10.0.0.1\"", "10.0.0.1:53 "},
        {"\"10.0.0.1:5353\", \"::1\", \"[::1]:54\", \"[fd00::1]\"",
         "10.0.0.1:5353 [::1]:53 [::1]:54 [fd00::1]:53 "},
        {"\"10.0.0.1 10.0.0.2:53\", \"10.0.0.1:53\", \"{{ GetInterfaceIP \\\"^lo$\\\" }}\"",
         "10.0.0.1:53 10.0.0.2:53 127.0.0.1:53 "},
        {"\"localhost:99\"", "127.0.0.1:99 "},
        {"\"127.0.0.1:8600\", \"10.0.0.1\"", "10.0.0.1:53 "}, /* itself */
    };
    struct addrinfo *known = NULL;
    bool named = getaddrinfo("localhost", NULL, NULL, &known) == 0;
    if (named) {
        freeaddrinfo(known);
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        char all[1024] = "", text[ADDR_TEXT_BYTES], given[512];
        if (!named && strstr(good[i].given, "localhost") != NULL) {
            continue; /* a bare system has no /etc/hosts */
        }
        snprintf(given, sizeof given, "recursors = [%s]", good[i].given);
        take(f, given);
        for (unsigned k = 0; k < f->config.recursor_count; k++) {
            addr_format(&f->config.recursor_addrs[k], text);
            size_t used = strlen(all);
            snprintf(all + used, sizeof all - used, "%s ", text);
        }
        if (strcmp(good[i].all, "127.0.0.1:99 ") != 0 || strcmp(all, "[::1]:99 ") != 0) {
            assert_string_equal(all, good[i].all);
        }
    }
    assert_true(warns(f, "this agent's own DNS address"));
    static const struct {
        const char *given, *error;
    } bad[] = {
        {"recursors = [\"1.2.3.4::53\"]", "too many colons in address"},
        {"recursors = [\"fd00::1:x\"]", "too many colons in address"},
        {"recursors = [\"10.0.0.1:0\"]", "invalid port"},
        {"recursors = [\"10.0.0.1:65536\"]", "invalid port"},
        {"recursors = [\":53\"]", "invalid port"},
        {"recursors = [\"unix:///a\"]", "unix socket"},
        {"recursors = [\"0.0.0.0\"]", "cannot be 0.0.0.0"},
        {"recursors = [\"[::]:53\"]", "cannot be 0.0.0.0"},
        {"dns_config { recursor_strategy = \"best\" }",
         "dns_config.recursor_strategy: invalid strategy: \"best\""},
        {"dns_config { recursor_timeout = \"-1s\" }", "dns_config.recursor_timeout: a negative"},
        {"dns_config { max_stale = \"-1s\" }", "dns_config.max_stale: a negative"},
        {"dns_config { cache_max_age = \"-1s\" }", "dns_config.cache_max_age: a negative"},
        {"alt_domain = \"service.x\"",
         "alt_domain cannot start with {service,connect,node,query,addr,dc1}"},
        {"alt_domain = \"DC1.x\"", "alt_domain cannot start with"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(load_hcl(f, bad[i].given), ERR_INVALID);
        if (strstr(f->error, bad[i].error) == NULL) {
            fail_msg("%s: %s", bad[i].given, f->error);
        }
    }
}

static void a_reload_keeps_its_log_level(void **state) {
    struct fixture *f = *state;
    assert_int_equal(LOAD(f, SERVER, "-log-level=warn"), ERR_OK);
    struct config running = f->config;
    const char *argv[] = {SERVER, "-log-level=loud"};
    struct config_source source = {
        .argc = COUNT(argv), .argv = (char **)(uintptr_t)argv, .running = &running};
    enum config_outcome outcome;
    assert_int_equal(config_load(&source, &f->arena, &f->config, &outcome, &f->error), ERR_OK);
    assert_int_equal(f->config.log.level, LOG_WARN);
    assert_true(warns(f, "Invalid log level"));
}

/* ---- the documentation ---- */

static const char *kind_name(enum decode_kind kind) {
    switch (kind) {
    case DECODE_STR:
        return "string";
    case DECODE_BOOL:
    case DECODE_BOOL_SET:
        return "bool";
    case DECODE_INT:
        return "int";
    case DECODE_FLOAT:
        return "number";
    case DECODE_DURATION:
        return "duration";
    case DECODE_STR_LIST:
        return "list";
    case DECODE_STR_MAP:
        return "map";
    case DECODE_OBJECT:
        return "object";
    case DECODE_OBJECTS:
        return "objects";
    default:
        return "any";
    }
}

static void effect_of(const struct config_key *key, char *out, size_t size) {
    static const char *const leads[] = {
        [CONFIG_USED] = "",
        [CONFIG_LATER] = "none yet, a warning",
        [CONFIG_IGNORED] = "ignored, a warning",
        [CONFIG_REFUSED] = "refused",
        [CONFIG_ENTERPRISE] = "none, a warning: of another edition",
        [CONFIG_INTERNAL] = "dropped",
        [CONFIG_RENAMED] = "older name of",
    };
    bool renamed = key->effect == CONFIG_RENAMED, used = key->effect == CONFIG_USED;
    snprintf(out, size, "%s%s%s%s%s", leads[key->effect],
             used || *key->note == '\0' ? ""
             : renamed                  ? " `"
                                        : ": ",
             key->note, renamed ? "`" : "", "");
}

static void row_of(const struct config_key *key, char *out, size_t size) {
    char effect[256];
    effect_of(key, effect, sizeof effect);
    bool quoted = *key->initial != '\0';
    snprintf(out, size, "| `%s` | %s | %s%s%s | %s | %s |\n", key->path, kind_name(key->kind),
             quoted ? "`" : "", key->initial, quoted ? "`" : "", key->reloadable ? "yes" : "",
             effect);
}

/* The document: what is written by hand up to the table's head, then a row a key. */
static void documentation(void **state) {
    static const char path[] = "docs/CONFIG.md", head[] = "|---|---|---|---|---|\n";
    char text[128 * 1024], wanted[128 * 1024];
    (void)state;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    char *table = strstr(text, head);
    assert_non_null(table);
    table += strlen(head);
    size_t used = (size_t)(table - text);
    memcpy(wanted, text, used);
    for (size_t i = 0; i < config_key_count; i++) {
        row_of(&config_keys[i], wanted + used, sizeof wanted - used);
        used += strlen(wanted + used);
    }
    if (getenv("CAIRN_REWRITE") != NULL) {
        file = fopen(path, "w");
        assert_non_null(file);
        fputs(wanted, file);
        fclose(file);
        return;
    }
    assert_string_equal(text, wanted); /* CAIRN_REWRITE=1 brings the rows up to date */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(defaults_and_dev),
        TEST(later_sources_win),
        TEST(files_and_folders),
        TEST(flags),
        TEST(every_key_is_known_and_typed),
        TEST(errors_of_decoding),
        TEST(spellings),
        TEST(refusals),
        TEST(warnings),
        TEST(addresses),
        TEST(recursors),
        TEST(a_reload_keeps_its_log_level),
        TEST(documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
