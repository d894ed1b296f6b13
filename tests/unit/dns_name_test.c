/* The name grammar (contract 1.2), row by row. */
#include "tests/unit/dns_support.h"

#include "dns/name.h"

#define A DNS_TYPE_A
#define SRV DNS_TYPE_SRV

static struct dns_domain domain_of(const char *text) {
    struct dns_domain domain = {.labels = 0};
    domain.bytes = (uint8_t)dns_name_from_text(text, domain.name);
    for (const uint8_t *at = domain.name; *at != 0; at += 1u + *at) {
        domain.labels++;
    }
    return domain;
}

/* "node web dc2" and the like. */
static void parse(const char *text, uint16_t qtype, char out[1024]) {
    struct dns_domain domains[] = {domain_of("consul"), domain_of("alt.consul"),
                                   domain_of("cairn")};
    uint8_t wire[DNS_NAME_BYTES];
    size_t bytes = dns_name_from_text(text, wire);
    struct dns_name name;
    assert_true(bytes > 0);
    dns_name_parse(wire, bytes, qtype, domains, 3, &name);
    char hex[40] = "";
    switch (name.kind) {
    case DNS_NAME_OUTSIDE:
        strcpy(out, "outside");
        break;
    case DNS_NAME_UNKNOWN:
        strcpy(out, "unknown");
        break;
    case DNS_NAME_NODE:
        snprintf(out, 1024, "node %s dc=%s", name.subject, name.dc);
        break;
    case DNS_NAME_SERVICE:
        snprintf(out, 1024, "service %s tag=%s dc=%s", name.subject, name.tag, name.dc);
        break;
    case DNS_NAME_QUERY:
        snprintf(out, 1024, "query %s dc=%s", name.subject, name.dc);
        break;
    case DNS_NAME_ADDR:
    case DNS_NAME_REVERSE:
        for (unsigned i = 0; i < name.address_bytes; i++) {
            sprintf(hex + 2 * i, "%02x", name.address[i]);
        }
        snprintf(out, 1024, "%s %s", name.kind == DNS_NAME_ADDR ? "addr" : "reverse", hex);
        break;
    }
}

struct row {
    const char *name;
    uint16_t qtype;
    const char *want;
};

static void check_rows(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char got[1024];
        parse(rows[i].name, rows[i].qtype, got);
        if (strcmp(got, rows[i].want) != 0) {
            fail_msg("%s: %s, not %s", rows[i].name, got, rows[i].want);
        }
    }
}

#define CHECK(rows) check_rows(rows, sizeof rows / sizeof *rows)

static void nodes(void **state) {
    (void)state;
    const struct row rows[] = {
        {"n1.node.consul", A, "node n1 dc="},
        {"N1.Node.CONSUL", A, "node n1 dc="},
        {"n1.node.dc2.consul", A, "node n1 dc=dc2"},
        {"n1.node.dc2.dc.consul", A, "node n1 dc=dc2"},
        {"n1.node.dc2.dc.dc3.dc.consul", A, "node n1 dc=dc3"},
        {"n1.node.dc2.dc.x.consul", A, "unknown"},
        {"n1.node.dc2.xx.consul", A, "unknown"},
        {"n1.node.p.peer.consul", A, "unknown"},
        {"n1.node.dc2.dc.dc3.ap.consul", A, "unknown"},
        {"n1.node.a.dc.b.dc.c.dc.consul", A, "unknown"},
        {"a.b.c.node.consul", A, "node a.b.c dc="},
        {"node.consul", A, "unknown"},
        {"consul", A, "unknown"},
        {"x.consul", A, "unknown"},
        {"n1.node.cairn", A, "node n1 dc="},
        {"n1.node.other", A, "outside"},
        {"n1.node", A, "outside"},
        {"n1.node.xconsul", A, "outside"},
        {".", A, "outside"},
    };
    CHECK(rows);
}

static void services(void **state) {
    (void)state;
    const struct row rows[] = {
        {"web.service.consul", A, "service web tag= dc="},
        {"web.service.dc1.consul", A, "service web tag= dc=dc1"},
        {"web.service.dc1.dc.consul", A, "service web tag= dc=dc1"},
        {"v1.web.service.consul", A, "service web tag=v1 dc="},
        {"v1.primary.web.service.consul", A, "service web tag=v1.primary dc="},
        {"service.consul", A, "unknown"},
        {"_web._tcp.service.consul", A, "service web tag= dc="},
        {"_web._tcp.service.dc1.consul", SRV, "service web tag= dc=dc1"},
        {"_web._udp.service.consul", A, "service web tag=udp dc="},
        {"_web._v1.service.consul", SRV, "service web tag=v1 dc="},
        {"_web._tcp.consul", SRV, "service web tag= dc="},
        {"_web._v1.dc2.consul", SRV, "service web tag=v1 dc=dc2"},
        {"_web._v1.dc2.dc.consul", SRV, "service web tag=v1 dc=dc2"},
        {"_web._tcp.consul", A, "unknown"}, /* the short form is for SRV only */
        {"_._tcp.service.consul", SRV, "unknown"},
        {"x._web._tcp.service.consul", SRV, "service _tcp tag=x._web dc="},
        {"web._tcp.service.consul", A, "service _tcp tag=web dc="},
        /* The kind that comes first from the right counts. */
        {"node.service.consul", A, "service node tag= dc="},
        {"service.node.consul", A, "node service dc="},
        {"web.service.node.consul", A, "node web.service dc="},
        /* A longer domain wins: here "alt" is no datacenter. */
        {"web.service.alt.consul", A, "service web tag= dc="},
        {"web.service.dc1.alt.consul", A, "service web tag= dc=dc1"},
    };
    CHECK(rows);
}

static void others(void **state) {
    (void)state;
    const struct row rows[] = {
        {"web.connect.consul", A, "unknown"},
        {"web.virtual.consul", A, "unknown"},
        {"web.ingress.consul", A, "unknown"},
        {"q.query.consul", A, "query q dc="},
        {"A.b.Query.dc2.consul", A, "query a.b dc=dc2"},
        {"q.query.dc2.dc.consul", A, "unknown"},
        {"query.consul", A, "unknown"},
        {"_q._tcp.query.consul", SRV, "query q dc="},
        {"_q.x._udp.query.dc2.consul", A, "query q.x dc=dc2"},
        {"_q.query.consul", A, "query _q dc="},
        {"q._tcp.query.consul", SRV, "query q._tcp dc="},
        {"0a000001.addr.consul", A, "addr 0a000001"},
        {"0A000001.addr.dc1.any.thing.consul", A, "addr 0a000001"},
        {"20010db8000000000000000000000001.addr.consul", A,
         "addr 20010db8000000000000000000000001"},
        {"0a00001.addr.consul", A, "unknown"},
        {"0a0000012.addr.consul", A, "unknown"},
        {"0a00000g.addr.consul", A, "unknown"},
        {"x.0a000001.addr.consul", A, "unknown"},
        {"addr.consul", A, "unknown"},
        {"4.3.2.1.in-addr.arpa", A, "reverse 01020304"},
        {"256.3.2.1.in-addr.arpa", A, "reverse "},
        {"04.3.2.1.in-addr.arpa", A, "reverse "},
        {"x.3.2.1.in-addr.arpa", A, "reverse "},
        {"3.2.1.in-addr.arpa", A, "reverse "},
        {"arpa", A, "reverse "},
        {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", A,
         "reverse 20010db8000000000000000000000001"},
        {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.xx.ip6.arpa", A,
         "reverse "},
    };
    CHECK(rows);
}

/* Bytes that would end or split the text of a name must not make it match another. */
static void hostile_labels(void **state) {
    (void)state;
    struct dns_domain domain = domain_of("consul");
    struct dns_name name;
    const uint8_t dotted[] = "\7n1.node\4node\6consul";
    dns_name_parse(dotted, sizeof dotted, A, &domain, 1, &name);
    assert_int_equal(name.kind, DNS_NAME_UNKNOWN);
    const uint8_t ended[] = "\3n1\0\4node\6consul";
    dns_name_parse(ended, sizeof ended, A, &domain, 1, &name);
    assert_int_equal(name.kind, DNS_NAME_UNKNOWN);
    const uint8_t dc[] = "\2n1\4node\4dc1\0\6consul";
    dns_name_parse(dc, sizeof dc, A, &domain, 1, &name);
    assert_int_equal(name.kind, DNS_NAME_UNKNOWN);
}

static void response_domain(void **state) {
    (void)state;
    struct dns_domain domains[] = {domain_of("consul"), domain_of("alt.consul")};
    struct dns_name name;
    const uint8_t wire[] = "\3web\7service\3ALT\6Consul";
    dns_name_parse(wire, sizeof wire, A, domains, 2, &name);
    assert_int_equal(name.domain_at, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes),           cmocka_unit_test(services),
        cmocka_unit_test(others),          cmocka_unit_test(hostile_labels),
        cmocka_unit_test(response_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
