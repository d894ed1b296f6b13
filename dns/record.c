#include <strings.h>

#include "dns/internal.h"

#define QNAME_POINTER (0xc000 | DNS_HEADER_BYTES)
#define POINTER_OFFSET_MAX 0x3fff
#define RECORD_FIXED_BYTES 10 /* type, class, TTL, data length */
#define SRV_PRIORITY 1
#define TXT_STRING_BYTES 255

/* Labels of a text, without the root. Returns the bytes; 0: it is no name. */
static size_t put_labels(const char *text, uint8_t out[DNS_NAME_BYTES]) {
    size_t bytes = dns_name_from_text(text, out);
    return bytes > 0 ? bytes - 1 : 0;
}

static size_t put_hex(const struct name_ref *ref, uint8_t out[DNS_NAME_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    out[0] = (uint8_t)(ref->ip_bytes * 2);
    for (unsigned i = 0; i < ref->ip_bytes; i++) {
        out[1 + 2 * i] = (uint8_t)digits[ref->ip[i] >> 4];
        out[2 + 2 * i] = (uint8_t)digits[ref->ip[i] & 0xf];
    }
    return 1u + out[0];
}

size_t name_build(const struct answer *answer, const struct name_ref *ref,
                  uint8_t out[DNS_NAME_BYTES]) {
    static const char *const kinds[] = {[NAME_NODE] = "\4node",
                                        [NAME_SERVER] = "\4node",
                                        [NAME_ADDR] = "\4addr",
                                        [NAME_SERVICE] = "\7service"};
    if (ref->form == NAME_WIRE) {
        size_t bytes = 1;
        for (const uint8_t *at = ref->wire; *at != 0; at += 1u + *at) {
            bytes += 1u + *at;
        }
        memcpy(out, ref->wire, bytes);
        return bytes;
    }
    if (ref->form == NAME_TEXT) {
        return dns_name_from_text(ref->text, out);
    }
    size_t used = ref->form == NAME_ADDR ? put_hex(ref, out) : put_labels(ref->text, out);
    const char *kind = kinds[ref->form];
    size_t kind_bytes = 1u + (uint8_t)kind[0];
    const uint8_t *dc = answer->dc;
    size_t dc_bytes = dc[0] == 0 ? 0 : 1u + dc[0];
    if (used == 0 || used + kind_bytes + dc_bytes + answer->domain_bytes > DNS_NAME_BYTES) {
        return 0;
    }
    memcpy(out + used, kind, kind_bytes);
    used += kind_bytes;
    memcpy(out + used, dc, dc_bytes);
    used += dc_bytes;
    memcpy(out + used, answer->domain, answer->domain_bytes);
    used += answer->domain_bytes;
    if (ref->form == NAME_SERVER) {
        dns_name_lower(out, out, used);
    }
    return used;
}

static void put_ref(struct dns_writer *writer, const struct answer *answer,
                    const struct name_ref *ref, bool compress) {
    uint8_t wire[DNS_NAME_BYTES];
    if (name_build(answer, ref, wire) == 0) {
        writer->failed = true;
        return;
    }
    dns_put_name(writer, wire, compress);
}

static void put_owner(struct dns_writer *writer, const struct answer *answer,
                      const struct record *record) {
    if (record->owner_is_qname) {
        if (writer->compress) {
            dns_put_u16(writer, QNAME_POINTER);
        } else {
            dns_put_bytes(writer, answer->request.name, answer->request.name_bytes);
        }
        return;
    }
    uint16_t target_at = 0;
    if (record->owner_is_target && writer->compress) {
        target_at = answer->scratch->target_at[record->of_answer];
    }
    if (target_at != 0) {
        dns_put_u16(writer, 0xc000u | target_at);
    } else {
        put_ref(writer, answer, &record->owner, true);
    }
}

static void put_fixed(struct dns_writer *writer, uint16_t type, uint32_t ttl_s,
                      unsigned data_bytes) {
    uint8_t *at = dns_writer_take(writer, RECORD_FIXED_BYTES);
    if (at != NULL) {
        at = dns_store_u16(at, type);
        at = dns_store_u16(at, DNS_CLASS_IN);
        at = dns_store_u32(at, ttl_s);
        dns_store_u16(at, data_bytes);
    }
}

static void put_srv(struct dns_writer *writer, const struct answer *answer,
                    const struct record *record, unsigned index) {
    uint8_t wire[DNS_NAME_BYTES];
    size_t bytes = name_build(answer, &record->target, wire);
    put_fixed(writer, DNS_TYPE_SRV, record->ttl_s, (unsigned)(6 + bytes));
    uint8_t *at = bytes > 0 ? dns_writer_take(writer, 6 + bytes) : NULL;
    if (at == NULL) {
        writer->failed = true;
        return;
    }
    at = dns_store_u16(at, SRV_PRIORITY);
    at = dns_store_u16(at, record->weight);
    at = dns_store_u16(at, record->port);
    memcpy(at, wire, bytes);
    size_t offset = (size_t)(at - writer->data);
    answer->scratch->target_at[index] = offset <= POINTER_OFFSET_MAX ? (uint16_t)offset : 0;
}

static size_t add_byte(char *out, size_t used, char c) {
    if (used < LIMIT_DNS_TXT_BYTES) {
        out[used++] = c;
    }
    return used;
}

/* RFC 1464: a backquote guards itself, '=' in a key, and blanks at both ends of a key. */
static size_t format_meta(const struct str_pair *pair, char out[LIMIT_DNS_TXT_BYTES]) {
    const char *key = pair->key;
    bool bare = strncasecmp(key, "rfc1035-", 8) == 0;
    size_t used = 0;
    size_t bytes = strlen(key);
    size_t first = strspn(key, " "); /* the part between the blanks: [first, last) */
    size_t last = bytes;
    while (last > first && key[last - 1] == ' ') {
        last--;
    }
    for (size_t i = 0; i < bytes && !bare; i++) {
        if (key[i] == '`' || key[i] == '=' || (key[i] == ' ' && (i < first || i >= last))) {
            used = add_byte(out, used, '`');
        }
        used = add_byte(out, used, key[i]);
    }
    if (!bare) {
        used = add_byte(out, used, '=');
    }
    for (const char *at = pair->value; *at != '\0'; at++) {
        if (*at == '`' && !bare) {
            used = add_byte(out, used, '`');
        }
        used = add_byte(out, used, *at);
    }
    return used;
}

/* One string, or several where one is too short for it. */
static void put_txt(struct dns_writer *writer, const struct record *record) {
    char text[LIMIT_DNS_TXT_BYTES];
    if (record->is_raw) {
        put_fixed(writer, DNS_TYPE_TXT, record->ttl_s, record->raw.size);
        dns_put_bytes(writer, record->raw.bytes, record->raw.size);
        return;
    }
    size_t bytes = format_meta(record->meta, text);
    size_t strings = bytes == 0 ? 1 : (bytes + TXT_STRING_BYTES - 1) / TXT_STRING_BYTES;
    put_fixed(writer, DNS_TYPE_TXT, record->ttl_s, (unsigned)(bytes + strings));
    for (size_t i = 0; i < strings; i++) {
        size_t at = i * TXT_STRING_BYTES;
        size_t part = bytes - at < TXT_STRING_BYTES ? bytes - at : TXT_STRING_BYTES;
        uint8_t size = (uint8_t)part;
        dns_put_bytes(writer, &size, 1);
        dns_put_bytes(writer, text + at, part);
    }
}

static void put_named(struct dns_writer *writer, const struct answer *answer,
                      const struct record *record) {
    put_fixed(writer, record->type, record->ttl_s, 0);
    size_t start = writer->size;
    put_ref(writer, answer, &record->target, true);
    if (!writer->failed) {
        dns_store_u16(writer->data + start - 2, (unsigned)(writer->size - start));
    }
}

void put_record(struct dns_writer *writer, const struct answer *answer, const struct record *record,
                unsigned index) {
    put_owner(writer, answer, record);
    switch (record->type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        put_fixed(writer, record->type, record->ttl_s, record->ip_bytes);
        dns_put_bytes(writer, record->ip, record->ip_bytes);
        break;
    case DNS_TYPE_SRV:
        put_srv(writer, answer, record, index);
        break;
    case DNS_TYPE_TXT:
        put_txt(writer, record);
        break;
    default:
        put_named(writer, answer, record);
        break;
    }
}

/* <label>.<domain> */
static void put_below_domain(struct dns_writer *writer, const struct answer *answer,
                             const char *label) {
    uint8_t wire[DNS_NAME_BYTES];
    size_t bytes = 1u + (uint8_t)label[0];
    if (bytes + answer->domain_bytes > sizeof wire) {
        writer->failed = true;
        return;
    }
    memcpy(wire, label, bytes);
    memcpy(wire + bytes, answer->domain, answer->domain_bytes);
    dns_put_name(writer, wire, true);
}

void put_soa(struct dns_writer *writer, const struct answer *answer) {
    const struct dns_soa *soa = &answer->config->soa;
    dns_put_name(writer, answer->domain, true);
    put_fixed(writer, DNS_TYPE_SOA, soa->min_ttl_s, 0);
    size_t start = writer->size;
    put_below_domain(writer, answer, "\2ns");
    put_below_domain(writer, answer, "\12hostmaster");
    dns_put_u32(writer, (uint32_t)answer->question->wall_s);
    dns_put_u32(writer, soa->refresh_s);
    dns_put_u32(writer, soa->retry_s);
    dns_put_u32(writer, soa->expire_s);
    dns_put_u32(writer, soa->min_ttl_s);
    if (!writer->failed) {
        dns_store_u16(writer->data + start - 2, (unsigned)(writer->size - start));
    }
}
