#include "dns/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dns/internal.h"

#define QUESTION_TAIL_BYTES 4
#define UDP_HEADER_BYTES 8 /* the contract counts it into a datagram's limit */

/* A name in a record takes two bytes at least, so a full section is more than a message holds and
 * the loss of what did not fit into it is never seen. */
_Static_assert(LIMIT_DNS_RECORDS *(2 + 10 + 1) > DNS_MESSAGE_BYTES, "a section holds a message");
_Static_assert(LIMIT_DNS_UDP_BYTES_MAX / 16 + 2 < LIMIT_DNS_RECORDS, "and a datagram of A records");
_Static_assert(LIMIT_DNS_TCP_ANSWERS + 1 < LIMIT_DNS_RECORDS, "and the answers of a stream");
_Static_assert(LIMIT_DNS_RECORDS < SEEN_SLOTS / 2, "a set of seen records stays sparse");
_Static_assert(2 * (LIMIT_META_KEY_BYTES + LIMIT_META_VALUE_BYTES) + 1 <= LIMIT_DNS_TXT_BYTES,
               "an escaped pair fits");

struct dns_scratch *dns_scratch_create(uint64_t seed) {
    /* So large that it comes fresh from the system: pages that no answer needs stay untouched. */
    struct dns_scratch *scratch = mem_calloc(1, sizeof *scratch);
    rand_init(&scratch->rand, seed);
    return scratch;
}

void dns_scratch_destroy(struct dns_scratch *scratch) {
    if (scratch != NULL) {
        free(scratch->instances);
        free(scratch);
    }
}

/* What of the gathered records goes into the message. */
struct cut {
    unsigned answers;
    bool trimmed; /* then additional records are only those that the answers left need */
    bool compress;
    bool truncated;   /* sets TC */
    size_t fit_bytes; /* additional records over this are left out; 0 = none are */
};

static size_t opt_bytes(const struct answer *answer) {
    if (!answer->request.has_opt) {
        return 0;
    }
    return DNS_OPT_BYTES + (answer->request.ecs != NULL ? 4u + answer->request.ecs_bytes : 0);
}

static void put_opt(struct dns_writer *writer, const struct answer *answer) {
    const struct dns_request *request = &answer->request;
    size_t bytes = opt_bytes(answer);
    uint8_t *at = dns_writer_take(writer, bytes);
    if (at == NULL || bytes == 0) {
        return;
    }
    *at++ = 0;
    at = dns_store_u16(at, DNS_TYPE_OPT);
    at = dns_store_u16(at, request->udp_bytes);
    at = dns_store_u32(at, (uint32_t)answer->rcode >> 4 << 24);
    at = dns_store_u16(at, (unsigned)(bytes - DNS_OPT_BYTES));
    if (request->ecs != NULL) {
        at = dns_store_u16(at, 8);
        at = dns_store_u16(at, request->ecs_bytes);
        memcpy(at, request->ecs, request->ecs_bytes);
        /* Scope: where the client is decides the order of what a query finds, and nothing else. */
        bool by_client = answer->name.kind == DNS_NAME_QUERY && answer->rcode == DNS_NOERROR;
        at[3] = by_client ? at[2] : 0;
    }
}

static unsigned put_additionals(struct dns_writer *writer, const struct answer *answer,
                                const struct cut *cut) {
    unsigned written = 0;
    for (unsigned i = 0; i < answer->additional.count; i++) {
        const struct record *record = &answer->additional.records[i];
        if (cut->trimmed && (!record->kept_on_trim || record->of_answer >= cut->answers)) {
            continue;
        }
        size_t size = writer->size;
        uint16_t suffixes = writer->suffix_count;
        put_record(writer, answer, record, 0);
        if (cut->fit_bytes > 0 &&
            (writer->failed || writer->size + opt_bytes(answer) > cut->fit_bytes)) {
            writer->size = size;
            writer->suffix_count = suffixes;
            writer->failed = false;
            break;
        }
        written++;
    }
    return written;
}

static void put_header(uint8_t *out, const struct answer *answer, bool truncated,
                       const unsigned counts[4]) {
    const struct dns_request *request = &answer->request;
    unsigned opcode = request->flags >> DNS_OPCODE_SHIFT & DNS_OPCODE_MASK;
    unsigned flags = DNS_FLAG_QR | opcode << DNS_OPCODE_SHIFT | ((unsigned)answer->rcode & 0xf);
    if (opcode == DNS_OPCODE_QUERY) {
        flags |= request->flags & (DNS_FLAG_RD | DNS_FLAG_CD);
    }
    flags |= answer->authoritative ? DNS_FLAG_AA : 0;
    flags |= truncated ? DNS_FLAG_TC : 0;
    flags |= answer->config->recursor_count > 0 ? DNS_FLAG_RA : 0;
    out = dns_store_u16(out, request->id);
    out = dns_store_u16(out, flags);
    for (int i = 0; i < 4; i++) {
        out = dns_store_u16(out, counts[i]);
    }
}

/* Bytes of the message; 0: it is too large for out. */
static size_t encode(const struct answer *answer, const struct cut *cut, uint8_t *out) {
    const struct dns_request *request = &answer->request;
    struct dns_writer writer;
    dns_writer_init(&writer, out, DNS_MESSAGE_BYTES, cut->compress);
    dns_writer_take(&writer, DNS_HEADER_BYTES);
    unsigned counts[4] = {0};
    if (request->name != NULL) {
        dns_put_bytes(&writer, request->name, request->name_bytes + QUESTION_TAIL_BYTES);
        dns_writer_note_name(&writer, DNS_HEADER_BYTES);
        counts[0] = 1;
    }
    if (answer->soa_answer) {
        put_soa(&writer, answer);
        counts[1]++;
    }
    for (unsigned i = 0; i < cut->answers && !writer.failed; i++) {
        put_record(&writer, answer, &answer->answers.records[i], i);
        counts[1]++;
    }
    if (answer->soa_authority && !cut->trimmed) {
        put_soa(&writer, answer);
        counts[2]++;
    }
    for (unsigned i = 0; i < answer->authority.count && !cut->trimmed; i++) {
        put_record(&writer, answer, &answer->authority.records[i], i);
        counts[2]++;
    }
    if (!writer.failed) {
        counts[3] = put_additionals(&writer, answer, cut);
    }
    put_opt(&writer, answer);
    counts[3] += request->has_opt;
    if (writer.failed) {
        return 0;
    }
    put_header(out, answer, cut->truncated, counts);
    return writer.size;
}

static bool fits(size_t bytes, size_t bytes_max) {
    return bytes > 0 && bytes <= bytes_max;
}

/* The contract's limits (1.4). count_max: answers to keep at most; plain_bytes: sizes are judged
 * without compression when that cut something; count_tells: it sets TC. */
struct trim {
    size_t bytes_max;
    unsigned count_max;
    bool plain_bytes, count_tells;
};

static size_t write_trimmed(const struct answer *answer, const struct trim *trim, uint8_t *out) {
    bool compress = !answer->config->disable_compression;
    struct cut cut = {.answers = answer->answers.count, .compress = compress};
    bool tells = false;
    if (cut.answers > trim->count_max) {
        cut.answers = trim->count_max;
        cut.trimmed = true;
        cut.compress = compress && !trim->plain_bytes;
        tells = trim->count_tells;
    }
    size_t bytes = encode(answer, &cut, out);
    if (cut.answers > 1 && !fits(bytes, trim->bytes_max)) {
        /* Already without metadata and authority all of them may fit. One is sent in any case. */
        unsigned all = cut.answers;
        unsigned low = 1;
        unsigned high = all;
        cut.trimmed = true;
        while (low < high) {
            cut.answers = (low + high + 1) / 2;
            if (fits(encode(answer, &cut, out), trim->bytes_max)) {
                low = cut.answers;
            } else {
                high = cut.answers - 1;
            }
        }
        cut.answers = low;
        tells = tells || low < all;
        bytes = 0;
    }
    cut.truncated = tells && answer->config->enable_truncate;
    if (cut.answers <= 1 && !fits(bytes, trim->bytes_max)) {
        /* What is left over the limit is additional data, which may be left out (RFC 2181 9). */
        cut.fit_bytes = trim->bytes_max;
        bytes = 0;
    }
    if (bytes == 0 || cut.truncated || cut.compress != compress) {
        cut.compress = compress;
        bytes = encode(answer, &cut, out);
    }
    return bytes;
}

static struct trim trim_of(const struct answer *answer) {
    const struct dns_request *request = &answer->request;
    if (answer->question->tcp) {
        return (struct trim){.bytes_max = LIMIT_DNS_TCP_BYTES,
                             .count_max = request->type == DNS_TYPE_SRV ? LIMIT_DNS_TCP_SRV_ANSWERS
                                                                        : LIMIT_DNS_TCP_ANSWERS};
    }
    size_t bytes_max = LIMIT_DNS_UDP_BYTES_MIN;
    if (request->has_opt && request->udp_bytes > bytes_max) {
        bytes_max = request->udp_bytes;
    }
    if (bytes_max > LIMIT_DNS_UDP_BYTES_MAX) {
        bytes_max = LIMIT_DNS_UDP_BYTES_MAX;
    }
    struct trim trim = {.bytes_max = bytes_max - UDP_HEADER_BYTES, .count_max = LIMIT_DNS_RECORDS};
    if (bytes_max == LIMIT_DNS_UDP_BYTES_MIN) {
        unsigned limit = answer->config->udp_answer_limit;
        trim.count_max = limit < LIMIT_DNS_PLAIN_ANSWERS ? limit : LIMIT_DNS_PLAIN_ANSWERS;
        trim.plain_bytes = true;
        trim.count_tells = true;
    }
    return trim;
}

/* One more than could be sent, so that the cut is noticed; an A record takes 16 bytes. */
static unsigned answers_max(const struct trim *trim) {
    unsigned by_bytes = (unsigned)(trim->bytes_max / 16) + 2;
    return trim->count_max < by_bytes ? trim->count_max + 1 : by_bytes;
}

static size_t write_plain(struct answer *answer, enum dns_rcode rcode, uint8_t *out) {
    struct cut cut = {.compress = true};
    answer->rcode = rcode;
    return encode(answer, &cut, out);
}

static enum found look_up(struct answer *answer) {
    struct asked asked = {.wire = answer->request.name,
                          .is_question = true,
                          .qtype = answer->request.type,
                          .depth = LIMIT_DNS_CHASE_DEPTH};
    switch (answer->name.kind) {
    case DNS_NAME_NODE:
        return lookup_node(answer, &asked, &answer->name, &answer->answers);
    case DNS_NAME_SERVICE:
        return lookup_service(answer, &asked, &answer->name, &answer->answers);
    case DNS_NAME_QUERY:
        return lookup_query(answer, &asked, &answer->name, &answer->answers);
    case DNS_NAME_ADDR: {
        /* The contract wants this owner in lower case, unlike all others. */
        dns_name_lower(answer->scratch->lower_name, answer->request.name,
                       (size_t)answer->name.domain_at);
        memcpy(answer->scratch->lower_name + answer->name.domain_at, answer->domain,
               answer->domain_bytes);
        asked.is_question = false;
        asked.owner = (struct name_ref){.form = NAME_WIRE, .wire = answer->scratch->lower_name};
        return lookup_addr(answer, &asked, &answer->name, &answer->answers, &answer->additional);
    }
    case DNS_NAME_REVERSE:
        return lookup_reverse(answer, &asked);
    case DNS_NAME_OUTSIDE:
    case DNS_NAME_UNKNOWN:
        break;
    }
    return FOUND_NO_NAME;
}

/* RFC 2308: SOA goes along with NXDOMAIN and NODATA. */
static void settle(struct answer *answer, enum found found) {
    answer->rcode = found == FOUND_NO_NAME  ? DNS_NXDOMAIN
                    : found == FOUND_FAILED ? DNS_SERVFAIL
                                            : DNS_NOERROR;
    answer->soa_authority =
        found == FOUND_NO_NAME || found == FOUND_NO_TYPE ||
        (answer->name.kind == DNS_NAME_REVERSE && answer->request.type == DNS_TYPE_SOA);
}

/* Names that are not ours, and addresses that nobody here has, are for recursors to answer. */
static bool is_for_recursors(const struct answer *answer) {
    unsigned opcode = answer->request.flags >> DNS_OPCODE_SHIFT & DNS_OPCODE_MASK;
    return answer->config->recursor_count > 0 && opcode == DNS_OPCODE_QUERY;
}

/* What is said when they did not answer. */
static size_t leave_to_recursors(struct answer *answer, uint8_t *out) {
    if (answer->question->resolved == NULL) {
        answer->scratch->wanted.need = DNS_NEEDS_RELAY;
    }
    answer->authoritative = false;
    return write_plain(answer, DNS_SERVFAIL, out);
}

/* What is said when no server answered. */
static size_t leave_to_servers(struct answer *answer, const char *datacenter, uint8_t *out) {
    struct dns_wanted *wanted = &answer->scratch->wanted;
    if (answer->question->resolved == NULL) {
        wanted->need = DNS_NEEDS_SERVER;
        snprintf(wanted->datacenter, sizeof wanted->datacenter, "%s", datacenter);
    }
    return write_plain(answer, DNS_SERVFAIL, out);
}

/* The name is of another datacenter, */
static bool names_far(const struct answer *answer) {
    bool named = answer->name.kind == DNS_NAME_NODE || answer->name.kind == DNS_NAME_SERVICE ||
                 answer->name.kind == DNS_NAME_QUERY;
    return named && answer->config->asks_far && !dc_is_ours(answer, answer->name.dc);
}

/* which its servers may be asked about. */
static bool is_far(const struct answer *answer) {
    return names_far(answer) &&
           (answer->question->resolved == NULL || answer->question->far_failed);
}

static size_t answer_inside(struct answer *answer, uint8_t *out) {
    uint16_t type = answer->request.type;
    bool reverse = answer->name.kind == DNS_NAME_REVERSE;
    bool about_zone = !reverse && (type == DNS_TYPE_SOA || type == DNS_TYPE_NS);
    bool needs_view =
        about_zone || answer->name.kind == DNS_NAME_NODE || answer->name.kind == DNS_NAME_SERVICE ||
        answer->name.kind == DNS_NAME_QUERY || (reverse && answer->name.address_bytes > 0);
    answer->authoritative = true;
    if (type == DNS_TYPE_AXFR) {
        return write_plain(answer, DNS_NOTIMP, out);
    }
    if (answer->config->asks_servers && !about_zone) {
        (void)mirror_turn_subscribed(answer);
    }
    if (answer->question->view == NULL && needs_view) {
        return answer->config->asks_servers ? leave_to_servers(answer, "", out)
                                            : write_plain(answer, DNS_SERVFAIL, out);
    }
    bool turned = names_far(answer) &&
                  answer->name.kind != DNS_NAME_QUERY && /* mirrors have no queries */
                  mirror_turn_far(answer);
    if (!turned && !answer->config->asks_servers && is_far(answer)) {
        return leave_to_servers(answer, answer->name.dc, out);
    }
    struct trim trim = trim_of(answer);
    answer->answers_max = answers_max(&trim);
    if (about_zone && answer->question->partial) {
        return leave_to_servers(answer, "", out);
    }
    if (about_zone) {
        answer->soa_answer = type == DNS_TYPE_SOA;
        lookup_name_servers(answer, answer->soa_answer ? &answer->authority : &answer->answers);
    } else {
        enum found found = look_up(answer);
        /* What is not here may be elsewhere: servers know where a lookup goes on. */
        bool lacking = answer->question->partial ||
                       (answer->config->asks_servers && answer->question->resolved == NULL);
        if (lacking && found == FOUND_NO_NAME) {
            return leave_to_servers(answer, "", out);
        }
        if (reverse && found == FOUND_NO_NAME && is_for_recursors(answer)) {
            return leave_to_recursors(answer, out);
        }
        settle(answer, found);
        mirror_tell_age(answer);
    }
    return write_trimmed(answer, &trim, out);
}

const struct dns_wanted *dns_scratch_wanted(const struct dns_scratch *scratch) {
    return &scratch->wanted;
}

const char *dns_scratch_skipped_node(const struct dns_scratch *scratch) {
    return scratch->skipped_node;
}

struct dns_asked dns_scratch_asked(const struct dns_scratch *scratch) {
    return scratch->asked;
}

size_t dns_answer(struct dns_scratch *scratch, const struct dns_snapshot *snapshot,
                  const struct dns_question *question, uint8_t *out) {
    struct answer answer = {
        .scratch = scratch,
        .snapshot = snapshot,
        .config = &snapshot->config,
        .question = question,
        .answers = {.records = scratch->answers, .seen = &scratch->answers_seen},
        .authority = {.records = scratch->name_servers, .seen = &scratch->answers_seen},
        .additional = {.records = scratch->additionals, .seen = &scratch->additionals_seen},
    };
    memcpy(answer.dc, snapshot->dc, sizeof answer.dc);
    scratch->answers_seen.used = false;
    scratch->additionals_seen.used = false;
    scratch->asked = (struct dns_asked){.parsed = false};
    scratch->skipped_node = NULL;
    scratch->wanted.need = DNS_NEEDS_NOTHING;
    scratch->wanted.count = 0;
    scratch->wanted.mirrored = false;
    if (question->resolved != NULL && question->resolved->rand != NULL) {
        scratch->rand = *question->resolved->rand;
    }
    scratch->wanted.rand = scratch->rand;
    struct dns_request *request = &answer.request;
    switch (dns_request_parse(question->request, question->request_bytes, request)) {
    case DNS_REQUEST_DROP:
        return 0;
    case DNS_REQUEST_MALFORMED:
        return write_plain(&answer, DNS_FORMERR, out);
    case DNS_REQUEST_UNKNOWN_OPCODE:
        return write_plain(&answer, DNS_NOTIMP, out);
    case DNS_REQUEST_ANSWER:
        break;
    }
    scratch->wanted.name_bytes = request->name_bytes;
    scratch->wanted.type = request->type == DNS_TYPE_AAAA ? DNS_TYPE_AAAA : DNS_TYPE_A;
    if (request->has_opt && request->edns_version > 0) {
        return write_plain(&answer, DNS_BADVERS, out);
    }
    dns_name_parse(request->name, request->name_bytes, request->type, snapshot->domains,
                   snapshot->domain_count, &answer.name);
    if (answer.name.kind == DNS_NAME_OUTSIDE) {
        return is_for_recursors(&answer) ? leave_to_recursors(&answer, out)
                                         : write_plain(&answer, DNS_REFUSED, out);
    }
    scratch->asked = (struct dns_asked){
        .parsed = true, .reverse = answer.name.kind == DNS_NAME_REVERSE, .type = request->type};
    if (answer.name.kind == DNS_NAME_REVERSE) {
        answer.domain = snapshot->domains[0].name;
        answer.domain_bytes = snapshot->domains[0].bytes;
    } else {
        answer.domain = request->name + answer.name.domain_at;
        answer.domain_bytes = (uint8_t)(request->name_bytes - answer.name.domain_at);
    }
    return answer_inside(&answer, out);
}
