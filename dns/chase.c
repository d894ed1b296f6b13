#include "dns/internal.h"

/* Leaves of the records [base, count) only what belongs behind a service's alias. */
static void keep_addresses(struct answer *answer, struct section *to, unsigned base,
                           const struct chase *chase) {
    unsigned max = answer->request.has_opt ? LIMIT_DNS_RECORDS : LIMIT_DNS_CHASE_RECORDS;
    unsigned kept = base;
    for (unsigned i = base; i < to->count && kept - base < max; i++) {
        struct record *record = &to->records[i];
        if (record->type == DNS_TYPE_A || record->type == DNS_TYPE_AAAA ||
            record->type == DNS_TYPE_CNAME) {
            record->ttl_s = chase->ttl_s;
            to->records[kept++] = *record;
        }
    }
    to->count = kept;
    to->seen->used = false;
}

/* Both in lower case or not. */
static bool is_same_name(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes) {
    uint8_t lower[2][DNS_NAME_BYTES];
    dns_name_lower(lower[0], a, a_bytes);
    dns_name_lower(lower[1], b, b_bytes);
    return a_bytes == b_bytes && memcmp(lower[0], lower[1], a_bytes) == 0;
}

void chase_name(struct answer *answer, const char *target, const struct chase *chase) {
    uint8_t wire[DNS_NAME_BYTES];
    struct dns_name name;
    struct section *to = chase->to;
    unsigned base = to->count;
    size_t bytes = dns_name_from_text(target, wire);
    /* What leads back to the question has come full circle. */
    if (bytes == 0 || chase->depth == 0 ||
        is_same_name(wire, bytes, answer->request.name, answer->request.name_bytes)) {
        return;
    }
    struct asked asked = {.wire = wire,
                          .owner = name_of_text(NAME_TEXT, target),
                          .qtype = DNS_TYPE_ANY,
                          .depth = chase->depth - 1};
    dns_name_parse(wire, bytes, DNS_TYPE_ANY, answer->snapshot->domains,
                   answer->snapshot->domain_count, &name);
    if (name.kind == DNS_NAME_NODE) {
        lookup_node(answer, &asked, &name, to);
    } else if (name.kind == DNS_NAME_SERVICE) {
        lookup_service(answer, &asked, &name, to);
    } else if (name.kind == DNS_NAME_ADDR) {
        lookup_addr(answer, &asked, &name, to, to);
    }
    if (chase->addresses_only) {
        keep_addresses(answer, to, base, chase);
    }
    /* Trimming keeps one address for each target, and the aliases that lead to it. */
    bool has_address = false;
    for (unsigned i = base; i < to->count; i++) {
        struct record *record = &to->records[i];
        bool alias = record->type == DNS_TYPE_CNAME;
        record->of_answer = chase->of_answer;
        record->kept_on_trim = alias || !has_address;
        has_address = has_address || !alias;
    }
}
