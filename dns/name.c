#include "dns/name.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A wire name in lower case, taken apart. */
struct labels {
    uint8_t bytes[DNS_NAME_BYTES];
    uint8_t at[DNS_LABELS + 1]; /* of each label; at[count] is the root's */
    unsigned count;
    size_t size; /* of bytes, with the root */
};

static void split(const uint8_t *name, size_t bytes, struct labels *out) {
    dns_name_lower(out->bytes, name, bytes);
    out->size = bytes;
    out->count = 0;
    unsigned at = 0;
    while (out->bytes[at] != 0) {
        out->at[out->count++] = (uint8_t)at;
        at += 1u + out->bytes[at];
    }
    out->at[out->count] = (uint8_t)at;
}

static unsigned label_bytes(const struct labels *labels, unsigned i) {
    return labels->bytes[labels->at[i]];
}

static const uint8_t *label_text(const struct labels *labels, unsigned i) {
    return labels->bytes + labels->at[i] + 1;
}

static bool label_is(const struct labels *labels, unsigned i, const char *text) {
    size_t bytes = strlen(text);
    return label_bytes(labels, i) == bytes && memcmp(label_text(labels, i), text, bytes) == 0;
}

static bool label_is_marked(const struct labels *labels, unsigned i) {
    return label_text(labels, i)[0] == '_';
}

/* Labels [from, to) with dots between, the first `skip` bytes of it left out. False: a byte that no
 * name of the catalog can match, because it would end or split the text. */
static bool join(const struct labels *labels, unsigned from, unsigned to, unsigned skip,
                 char out[DNS_NAME_BYTES]) {
    size_t used = 0;
    for (unsigned i = from; i < to; i++) {
        size_t bytes = label_bytes(labels, i);
        const uint8_t *text = label_text(labels, i);
        if (memchr(text, '\0', bytes) != NULL || memchr(text, '.', bytes) != NULL) {
            return false;
        }
        if (i > from) {
            out[used++] = '.';
        }
        memcpy(out + used, text + skip, bytes - skip);
        used += bytes - skip;
        skip = 0;
    }
    out[used] = '\0';
    return used > 0;
}

/* None, <dc>, or pairs <x>.dc of which the last counts. Pairs of other kinds (peer, sg, ns, ap)
 * name things that are not offered. */
static bool read_locality(const struct labels *labels, unsigned from, unsigned to,
                          char dc[DNS_LABEL_BYTES + 1]) {
    unsigned count = to - from;
    dc[0] = '\0';
    if (count == 0) {
        return true;
    }
    if (count == 3 || count > 4) {
        return false;
    }
    for (unsigned i = from + 1; i < to; i += 2) {
        if (!label_is(labels, i, "dc")) {
            return false;
        }
    }
    unsigned last = count == 1 ? from : to - 2;
    unsigned bytes = label_bytes(labels, last);
    memcpy(dc, label_text(labels, last), bytes);
    dc[bytes] = '\0';
    return memchr(dc, '\0', bytes) == NULL;
}

/* Subject [0, end), locality [end + has_kind, to). */
static bool read_service(const struct labels *labels, unsigned end, struct dns_name *out) {
    out->tag[0] = '\0';
    if (end == 2 && label_is_marked(labels, 0) && label_is_marked(labels, 1)) {
        return (label_is(labels, 1, "_tcp") || label_bytes(labels, 1) == 1 ||
                join(labels, 1, 2, 1, out->tag)) &&
               join(labels, 0, 1, 1, out->subject);
    }
    return end > 0 && (end == 1 || join(labels, 0, end - 1, 0, out->tag)) &&
           join(labels, end - 1, end, 0, out->subject);
}

/* Subject [0, end). Names of queries may have dots; in the form of RFC 2782 the protocol says
 * nothing. */
static bool read_query(const struct labels *labels, unsigned end, struct dns_name *out) {
    bool marked = end >= 2 && label_is_marked(labels, 0) && label_is_marked(labels, end - 1);
    return end > 0 && join(labels, 0, end - marked, marked, out->subject);
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_addr(const struct labels *labels, unsigned end, struct dns_name *out) {
    unsigned bytes = end == 1 ? label_bytes(labels, 0) : 0;
    if (bytes != 8 && bytes != 32) {
        return false;
    }
    const uint8_t *text = label_text(labels, 0);
    for (unsigned i = 0; i < bytes; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out->address[i / 2] = (uint8_t)(high << 4 | low);
    }
    out->address_bytes = (uint8_t)(bytes / 2);
    return true;
}

static bool read_octet(const struct labels *labels, unsigned i, uint8_t *ret_octet) {
    unsigned bytes = label_bytes(labels, i);
    const uint8_t *text = label_text(labels, i);
    unsigned value = 0;
    if (bytes > 3 || (bytes > 1 && text[0] == '0')) {
        return false;
    }
    for (unsigned k = 0; k < bytes; k++) {
        if (text[k] < '0' || text[k] > '9') {
            return false;
        }
        value = value * 10 + (text[k] - '0');
    }
    *ret_octet = (uint8_t)value;
    return value <= 255;
}

/* RFC 1035 section 3.5, RFC 3596 section 2.5. */
static void read_reverse(const struct labels *labels, struct dns_name *out) {
    unsigned count = labels->count;
    out->kind = DNS_NAME_REVERSE;
    out->address_bytes = 0;
    if (count == 6 && label_is(labels, 4, "in-addr")) {
        for (unsigned i = 0; i < 4; i++) {
            if (!read_octet(labels, i, &out->address[3 - i])) {
                return;
            }
        }
        out->address_bytes = 4;
    } else if (count == 34 && label_is(labels, 32, "ip6")) {
        for (unsigned i = 0; i < 32; i++) {
            int digit = label_bytes(labels, i) == 1 ? hex_digit(label_text(labels, i)[0]) : -1;
            if (digit < 0) {
                return;
            }
            uint8_t *octet = &out->address[15 - i / 2];
            *octet = (uint8_t)(i % 2 == 0 ? digit : digit << 4 | *octet);
        }
        out->address_bytes = 16;
    }
}

/* The longest domain that ends the name, or NULL. */
static const struct dns_domain *find_domain(const struct labels *labels,
                                            const struct dns_domain *domains, unsigned count) {
    const struct dns_domain *found = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct dns_domain *domain = &domains[i];
        if (domain->labels > labels->count || (found != NULL && domain->labels <= found->labels)) {
            continue;
        }
        size_t at = labels->at[labels->count - domain->labels];
        if (labels->size - at == domain->bytes &&
            memcmp(labels->bytes + at, domain->name, domain->bytes) == 0) {
            found = domain;
        }
    }
    return found;
}

enum kind_label { KIND_NONE, KIND_SERVICE, KIND_NODE, KIND_ADDR, KIND_QUERY, KIND_NOT_OFFERED };

static enum kind_label kind_of(const struct labels *labels, unsigned i) {
    static const struct {
        const char *label;
        enum kind_label kind;
    } kinds[] = {
        {"service", KIND_SERVICE},     {"node", KIND_NODE},           {"addr", KIND_ADDR},
        {"connect", KIND_NOT_OFFERED}, {"virtual", KIND_NOT_OFFERED}, {"ingress", KIND_NOT_OFFERED},
        {"query", KIND_QUERY},
    };
    for (unsigned k = 0; k < COUNT(kinds); k++) {
        if (label_is(labels, i, kinds[k].label)) {
            return kinds[k].kind;
        }
    }
    return KIND_NONE;
}

void dns_name_parse(const uint8_t *name, size_t bytes, uint16_t qtype,
                    const struct dns_domain *domains, unsigned domain_count,
                    struct dns_name *ret_name) {
    struct labels labels;
    split(name, bytes, &labels);
    struct dns_name *out = ret_name;
    const struct dns_domain *domain = find_domain(&labels, domains, domain_count);
    if (domain == NULL) {
        out->kind = DNS_NAME_OUTSIDE;
        if (labels.count > 0 && label_is(&labels, labels.count - 1, "arpa")) {
            read_reverse(&labels, out);
        }
        return;
    }
    unsigned end = labels.count - domain->labels; /* labels below the domain */
    out->domain_at = labels.at[end];
    out->kind = DNS_NAME_UNKNOWN;
    for (unsigned i = end; i-- > 0;) {
        enum kind_label kind = kind_of(&labels, i);
        unsigned subject_end = i;
        if (kind == KIND_NONE && qtype == DNS_TYPE_SRV && label_is_marked(&labels, i)) {
            kind = KIND_SERVICE;
            subject_end = i + 1;
        }
        switch (kind) {
        case KIND_NONE:
            continue;
        case KIND_SERVICE:
            if (read_locality(&labels, i + 1, end, out->dc) &&
                read_service(&labels, subject_end, out)) {
                out->kind = DNS_NAME_SERVICE;
            }
            return;
        case KIND_NODE:
            if (read_locality(&labels, i + 1, end, out->dc) &&
                join(&labels, 0, subject_end, 0, out->subject)) {
                out->kind = DNS_NAME_NODE;
            }
            return;
        case KIND_ADDR:
            if (read_addr(&labels, subject_end, out)) {
                out->kind = DNS_NAME_ADDR;
            }
            return;
        case KIND_QUERY:
            if (end - i <= 2 && read_locality(&labels, i + 1, end, out->dc) &&
                read_query(&labels, subject_end, out)) {
                out->kind = DNS_NAME_QUERY;
            }
            return;
        case KIND_NOT_OFFERED:
            return;
        }
    }
}
