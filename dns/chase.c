#include <string.h>

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

static size_t wire_bytes(const uint8_t *name) {
    size_t at = 0;
    while (name[at] != 0) {
        at += 1u + name[at];
    }
    return at + 1;
}

/* target: the name that was asked for, as the catalog has it; bytes: of its wire name. */
static void add_resolved(struct section *to, const struct upstream_record *from, const char *target,
                         const uint8_t *lower, size_t bytes) {
    struct record *record = section_add(to);
    if (record == NULL) {
        return;
    }
    record->type = from->type;
    record->ttl_s = from->ttl_s;
    /* Not in the case that the question went out in. */
    record->owner = is_same_name(from->owner, wire_bytes(from->owner), lower, bytes)
                        ? name_of_text(NAME_TEXT, target)
                        : (struct name_ref){.form = NAME_WIRE, .wire = from->owner};
    if (from->type == DNS_TYPE_CNAME) {
        record->target = (struct name_ref){.form = NAME_WIRE, .wire = from->data};
    } else if (from->type == DNS_TYPE_TXT) {
        record->is_raw = true;
        record->raw.bytes = from->data;
        record->raw.size = from->data_bytes;
    } else {
        record->ip_bytes = (uint8_t)from->data_bytes;
        memcpy(record->ip, from->data, from->data_bytes);
    }
}

/* A foreign name: what recursors said of it, or a note that they are to be asked. */
static void resolve_name(struct answer *answer, const char *target, const uint8_t *name,
                         size_t bytes, struct section *to) {
    uint8_t lower[DNS_NAME_BYTES];
    const struct dns_resolved *resolved = answer->question->resolved;
    struct dns_wanted *wanted = &answer->scratch->wanted;
    if (answer->config->recursor_count == 0) {
        return;
    }
    dns_name_lower(lower, name, bytes);
    for (unsigned i = 0; resolved != NULL && i < resolved->count; i++) {
        const struct dns_resolved_name *known = &resolved->names[i];
        if (known->name_bytes == bytes && memcmp(known->name, lower, bytes) == 0) {
            for (unsigned k = 0; k < known->count; k++) {
                add_resolved(to, &known->records[k], target, lower, bytes);
            }
            return;
        }
    }
    bool known = resolved != NULL || wanted->count == LIMIT_DNS_RESOLVED_NAMES;
    for (unsigned i = 0; !known && i < wanted->count; i++) {
        known = wanted->names[i].bytes == bytes && memcmp(wanted->names[i].name, lower, bytes) == 0;
    }
    if (!known) {
        wanted->need = DNS_NEEDS_NAMES;
        wanted->names[wanted->count].bytes = (uint16_t)bytes;
        memcpy(wanted->names[wanted->count++].name, lower, bytes);
    }
}

void chase_name(struct answer *answer, const char *target, const struct chase *chase) {
    uint8_t wire[DNS_NAME_BYTES];
    struct dns_name name;
    struct section *to = chase->to;
    unsigned base = to->count;
    size_t bytes = dns_name_from_text(target, wire);
    /* What leads back to the question has come full circle. */
    if (bytes == 0 || is_same_name(wire, bytes, answer->request.name, answer->request.name_bytes)) {
        return;
    }
    struct asked asked = {.wire = wire,
                          .owner = name_of_text(NAME_TEXT, target),
                          .qtype = DNS_TYPE_ANY,
                          .depth = chase->depth > 0 ? chase->depth - 1 : 0};
    dns_name_parse(wire, bytes, DNS_TYPE_ANY, answer->snapshot->domains,
                   answer->snapshot->domain_count, &name);
    if (name.kind == DNS_NAME_OUTSIDE) {
        resolve_name(answer, target, wire, bytes, to);
    } else if (chase->depth == 0) {
        return;
    } else if (name.kind == DNS_NAME_NODE) {
        lookup_node(answer, &asked, &name, to);
    } else if (name.kind == DNS_NAME_SERVICE) {
        lookup_service(answer, &asked, &name, to);
    } else if (name.kind == DNS_NAME_QUERY) {
        lookup_query(answer, &asked, &name, to);
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
