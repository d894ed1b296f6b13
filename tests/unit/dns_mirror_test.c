/* Names that are answered from rows kept elsewhere: of another datacenter, and of services that an
 * agent without -server has subscribed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/dns_support.h"

/* The rows are the world's; what is asked of is "dc2", or this datacenter's "web". */
struct mirror {
    struct world *w;
    struct backend backend;
    bool known;
    int64_t age_ms;
    unsigned looks;
};

static bool look(struct mirror *mirror, bool right, struct backend_mirror *ret_mirror) {
    mirror->looks++;
    *ret_mirror =
        (struct backend_mirror){.view = catalog_view(mirror->w->catalog), .age_ms = mirror->age_ms};
    return mirror->known && right;
}

static bool get_mirror(void *context, const char *datacenter, struct backend_mirror *ret_mirror) {
    return look(context, str_equal_fold(datacenter, "dc2"), ret_mirror);
}

static bool get_subscribed(void *context, const char *service, struct backend_mirror *ret_mirror) {
    return look(context, service == NULL || str_equal_fold(service, "web"), ret_mirror);
}

static void open_mirror(struct mirror *mirror, bool server) {
    *mirror = (struct mirror){.w = world_create(), .known = true};
    struct world *w = mirror->w;
    w->config.asks_far = server;
    w->config.asks_servers = !server;
    world_add(w,
              (struct entry){.node = "far1", .address = "10.2.0.1", .service = "web", .port = 80});
    mirror->backend = (struct backend){
        .context = mirror, .get_mirror = get_mirror, .get_subscribed = get_subscribed};
    w->backend = &mirror->backend;
}

static enum dns_need need(const struct mirror *mirror) {
    return dns_scratch_wanted(mirror->w->scratch)->need;
}

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static void a_datacenter_is_asked_first(void **state) {
    struct mirror m;
    (void)state;
    open_mirror(&m, true);
    m.age_ms = 300;
    ASK_EDNS(m.w, "web.service.DC2.consul", DNS_TYPE_A);
    assert_int_equal(need(&m), DNS_NEEDS_SERVER);
    m.w->asked = true;
    const char *text = ASK_EDNS(m.w, "web.service.DC2.consul", DNS_TYPE_A);
    assert_int_equal(need(&m), DNS_NEEDS_NOTHING);
    assert_true(has(text, "10.2.0.1"));
    assert_false(has(text, "cairn-mirror-age")); /* nobody minds */
    m.age_ms = 2500;
    text = ASK_EDNS(m.w, "web.service.dc2.consul", DNS_TYPE_SRV);
    assert_true(has(text, "far1.node.dc2.consul"));
    assert_true(has(text, "cairn-mirror-age-ms=2500"));
    assert_true(has(ASK_EDNS(m.w, "far1.node.dc2.consul", DNS_TYPE_A), "10.2.0.1"));
    assert_true(has(ASK(m.w, "none.service.dc2.consul", DNS_TYPE_A), "NXDOMAIN"));
    m.known = false;
    assert_true(has(ASK(m.w, "web.service.dc2.consul", DNS_TYPE_A), "SERVFAIL"));
    world_destroy(m.w);
}

static void a_lost_datacenter_is_not_asked(void **state) {
    struct mirror m;
    (void)state;
    open_mirror(&m, true);
    m.age_ms = LIMIT_MIRROR_LOST_MS;
    const char *text = ASK_EDNS(m.w, "web.service.dc2.consul", DNS_TYPE_A);
    assert_int_equal(need(&m), DNS_NEEDS_NOTHING);
    assert_true(has(text, "10.2.0.1") && has(text, "cairn-mirror-age-ms=5000"));
    ASK_EDNS(m.w, "web.service.dc3.consul", DNS_TYPE_A);
    assert_int_equal(need(&m), DNS_NEEDS_SERVER); /* of that nothing is mirrored */
    m.looks = 0;
    assert_true(has(ASK(m.w, "web.service.consul", DNS_TYPE_A), "10.2.0.1"));
    assert_int_equal(m.looks, 0); /* its own */
    world_destroy(m.w);
}

static void subscribed_services(void **state) {
    struct mirror m;
    (void)state;
    open_mirror(&m, false);
    m.age_ms = LIMIT_MIRROR_FRESH_MS;
    struct ask web = {.name = "web.service.consul", .type = DNS_TYPE_A, .not_ready = true};
    assert_true(has(world_ask(m.w, web), "10.2.0.1")); /* no server is asked */
    m.age_ms++;
    world_ask(m.w, web);
    assert_int_equal(need(&m), DNS_NEEDS_SERVER);
    m.w->asked = true;
    assert_true(has(world_ask(m.w, web), "10.2.0.1"));
    web.name = "db.service.consul";
    assert_true(has(world_ask(m.w, web), "SERVFAIL"));
    web.name = "far1.node.consul"; /* SRV names it */
    assert_true(has(world_ask(m.w, web), "10.2.0.1"));
    web.name = "far2.node.consul";
    assert_true(has(world_ask(m.w, web), "SERVFAIL"));
    m.w->asked = false;
    web.name = "far1.node.consul";
    world_ask(m.w, web);
    assert_int_equal(need(&m), DNS_NEEDS_SERVER);
    m.w->asked = false;
    m.age_ms = 0;
    m.w->config.allow_stale = false;
    world_reconfigure(m.w);
    web.name = "web.service.consul";
    world_ask(m.w, web);
    assert_int_equal(need(&m), DNS_NEEDS_SERVER);
    world_destroy(m.w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datacenter_is_asked_first),
        cmocka_unit_test(a_lost_datacenter_is_not_asked),
        cmocka_unit_test(subscribed_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
