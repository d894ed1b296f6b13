/* What the tests of dns/ share: a catalog filled by hand, questions as bytes, and answers as text,
 * read by a parser that shares nothing with dns/wire.c. */
#ifndef DNS_SUPPORT_H
#define DNS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "base/limits.h"
#include "catalog/catalog.h"
#include "dns/answer.h"

struct world {
    struct epoch *epoch;
    struct catalog *catalog;
    uint64_t index;
    struct dns_config config;
    struct dns_scratch *scratch;
    struct dns_snapshot *snapshot; /* made anew when NULL */
    const struct backend *backend; /* knows mirrors */
    bool asked;                    /* servers, and they did not answer */
    bool partial;                  /* see struct dns_question */
    uint8_t out[DNS_MESSAGE_BYTES];
    size_t out_bytes;
    char text[512 * 1024]; /* of the last answer */
};

static inline struct world *world_create(void) {
    struct world *w = calloc(1, sizeof *w);
    w->epoch = epoch_create();
    w->catalog = catalog_create(w->epoch, NULL);
    w->config = dns_config_default();
    w->config.datacenter = "dc1";
    w->config.node_name = "node1";
    w->scratch = dns_scratch_create(7);
    return w;
}

static inline void world_destroy(struct world *w) {
    free(w->snapshot);
    dns_scratch_destroy(w->scratch);
    catalog_destroy(w->catalog);
    epoch_destroy(w->epoch);
    free(w);
}

static inline void world_apply(struct world *w, const struct catalog_command *command) {
    struct buf buf;
    struct err_text text = {""};
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &buf);
    if (catalog_apply(w->catalog, ++w->index, (const uint8_t *)buf.data, buf.count, NULL, &text) !=
        ERR_OK) {
        fail_msg("%s", text.s);
    }
    buf_clear(&buf);
    catalog_publish(w->catalog);
}

/* One registration. Strings that are not given are "". */
struct entry {
    const char *node, *address;
    struct str_pair *meta;
    unsigned meta_count;
    struct str_pair *tagged;
    unsigned tagged_count;
    const char *service, *service_address;
    const char *tags[3];
    unsigned port;
    const char *id; /* default: the service's name */
    struct catalog_tagged_address *service_tagged;
    unsigned service_tagged_count;
    unsigned weight_passing, weight_warning; /* default 1 */
    const char *node_status, *status;        /* of a check, when given */
};

static inline const char *or_empty(const char *s) {
    return s != NULL ? s : "";
}

static inline struct catalog_check world_check(const struct entry *e, const char *id,
                                               const char *service_id, const char *status) {
    return (struct catalog_check){.node = e->node,
                                  .id = id,
                                  .name = id,
                                  .status = status,
                                  .notes = "",
                                  .output = "",
                                  .service_id = service_id,
                                  .service_name = service_id[0] != '\0' ? e->service : "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
}

static inline void world_add(struct world *w, struct entry e) {
    const char *id = e.id != NULL ? e.id : or_empty(e.service);
    struct catalog_service service = {.node = e.node,
                                      .id = id,
                                      .name = or_empty(e.service),
                                      .address = or_empty(e.service_address),
                                      .port = e.port,
                                      .socket_path = "",
                                      .tagged_addresses = e.service_tagged,
                                      .tagged_address_count = e.service_tagged_count,
                                      .weight_passing = e.weight_passing > 0 ? e.weight_passing : 1,
                                      .weight_warning = e.weight_warning > 0 ? e.weight_warning : 1,
                                      .kind = "",
                                      .region = "",
                                      .zone = "",
                                      .proxy = "",
                                      .connect = ""};
    service.tags.v = e.tags;
    while (service.tags.count < 3 && e.tags[service.tags.count] != NULL) {
        service.tags.count++;
    }
    struct catalog_check checks[2];
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = {.id = "",
                         .name = e.node,
                         .address = e.address,
                         .tagged_addresses = {.v = e.tagged, .count = e.tagged_count},
                         .meta = {.v = e.meta, .count = e.meta_count},
                         .region = "",
                         .zone = ""},
                .service = e.service != NULL ? &service : NULL,
                .checks = checks}};
    if (e.node_status != NULL) {
        checks[command.reg.check_count++] = world_check(&e, "node", "", e.node_status);
    }
    if (e.status != NULL) {
        checks[command.reg.check_count++] = world_check(&e, id, id, e.status);
    }
    world_apply(w, &command);
}

/* What varies in questions. */
struct ask {
    const char *name;
    unsigned type;
    bool tcp;
    unsigned edns; /* size; 0 = no OPT */
    unsigned flags;
    const void *options; /* of OPT */
    unsigned option_bytes;
    bool not_ready;
};

static inline size_t ask_encode(const struct ask *ask, uint8_t *out) {
    uint8_t *at = out;
    uint8_t header[] = {
        0x12, 0x34,          (uint8_t)(ask->flags >> 8), (uint8_t)ask->flags, 0, 1, 0, 0, 0, 0,
        0,    ask->edns != 0};
    memcpy(at, header, sizeof header);
    at += sizeof header;
    for (const char *s = ask->name; *s != '\0';) {
        size_t bytes = strcspn(s, ".");
        *at++ = (uint8_t)bytes;
        memcpy(at, s, bytes);
        at += bytes;
        s += bytes + (s[bytes] == '.');
    }
    uint8_t tail[] = {0, (uint8_t)(ask->type >> 8), (uint8_t)ask->type, 0, 1};
    memcpy(at, tail, sizeof tail);
    at += sizeof tail;
    if (ask->edns != 0) {
        uint8_t opt[] = {0, 0, 41, (uint8_t)(ask->edns >> 8),         (uint8_t)ask->edns,        0,
                         0, 0, 0,  (uint8_t)(ask->option_bytes >> 8), (uint8_t)ask->option_bytes};
        memcpy(at, opt, sizeof opt);
        at += sizeof opt;
        if (ask->option_bytes > 0) {
            memcpy(at, ask->options, ask->option_bytes);
            at += ask->option_bytes;
        }
    }
    return (size_t)(at - out);
}

/* The parser of answers. Any fault of theirs fails the test. */
struct reader {
    const uint8_t *data;
    size_t size, at;
};

static inline unsigned read_u8(struct reader *r) {
    assert_true(r->at < r->size);
    return r->data[r->at++];
}

static inline unsigned read_u16(struct reader *r) {
    unsigned high = read_u8(r);
    return high << 8 | read_u8(r);
}

static inline unsigned long read_u32(struct reader *r) {
    unsigned long high = read_u16(r);
    return high << 16 | read_u16(r);
}

static inline void read_name(struct reader *r, char out[1024]) {
    struct reader at = *r;
    bool jumped = false;
    size_t used = 0;
    size_t wire = 1;
    for (;;) {
        unsigned label = read_u8(&at);
        if ((label & 0xc0) == 0xc0) {
            size_t to = (label & 0x3f) << 8 | read_u8(&at);
            if (!jumped) {
                r->at = at.at;
            }
            jumped = true;
            assert_true(to < at.at - 2); /* backwards, so it ends */
            at.at = to;
            continue;
        }
        assert_true(label <= 63);
        if (label == 0) {
            break;
        }
        wire += 1 + label;
        assert_true(wire <= 255);
        for (unsigned i = 0; i < label; i++) {
            out[used++] = (char)read_u8(&at);
        }
        out[used++] = '.';
    }
    if (!jumped) {
        r->at = at.at;
    }
    if (used == 0) {
        out[used++] = '.';
    }
    out[used] = '\0';
}

static inline void say(char *text, const char *format, ...) {
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, 512 * 1024 - used, format, args);
    va_end(args);
}

static inline void read_txt(struct reader *r, size_t end, char *text) {
    while (r->at < end) {
        unsigned bytes = read_u8(r);
        say(text, " \"");
        for (unsigned i = 0; i < bytes; i++) {
            say(text, "%c", (int)read_u8(r));
        }
        say(text, "\"");
    }
}

static inline void read_data(struct reader *r, unsigned type, size_t end, char *text) {
    char name[1024];
    char ip[64];
    switch (type) {
    case 1:
    case 28:
        assert_int_equal(end - r->at, type == 1 ? 4 : 16);
        inet_ntop(type == 1 ? AF_INET : AF_INET6, r->data + r->at, ip, sizeof ip);
        say(text, " %s %s", type == 1 ? "A" : "AAAA", ip);
        r->at = end;
        break;
    case 2:
    case 5:
    case 12:
        read_name(r, name);
        say(text, " %s %s", type == 2 ? "NS" : type == 5 ? "CNAME" : "PTR", name);
        break;
    case 6:
        read_name(r, name);
        say(text, " SOA %s", name);
        read_name(r, name);
        say(text, " %s", name);
        for (int i = 0; i < 5; i++) {
            say(text, " %lu", read_u32(r));
        }
        break;
    case 16:
        say(text, " TXT");
        read_txt(r, end, text);
        break;
    case 33: {
        unsigned priority = read_u16(r);
        unsigned weight = read_u16(r);
        unsigned port = read_u16(r);
        assert_true(r->data[r->at] < 0xc0); /* RFC 2782: no compression */
        read_name(r, name);
        say(text, " SRV %u %u %u %s", priority, weight, port, name);
        break;
    }
    default:
        fail_msg("type %u in an answer", type);
    }
}

static inline void read_record(struct reader *r, const char *section, char *text) {
    char name[1024];
    read_name(r, name);
    unsigned type = read_u16(r);
    unsigned class = read_u16(r);
    unsigned long ttl = read_u32(r);
    size_t bytes = read_u16(r);
    size_t end = r->at + bytes;
    assert_true(end <= r->size);
    if (type == 41) {
        assert_string_equal(name, ".");
        say(text, "opt %u ext=%lu", class, ttl);
        while (r->at < end) {
            say(text, " %02x", read_u8(r));
        }
    } else {
        assert_int_equal(class, 1);
        say(text, "%s %s %lu", section, name, ttl);
        read_data(r, type, end, text);
    }
    say(text, "\n");
    assert_int_equal(r->at, end);
}

/* "NOERROR aa\n" and a line for each record, in order, beginning with its section. */
static inline void answer_format(const uint8_t *data, size_t size, char *text) {
    static const char *const rcodes[] = {"NOERROR",  "FORMERR", "SERVFAIL",
                                         "NXDOMAIN", "NOTIMP",  "REFUSED"};
    struct reader r = {data, size, 0};
    text[0] = '\0';
    assert_int_equal(read_u16(&r), 0x1234);
    unsigned flags = read_u16(&r);
    assert_true(flags & 0x8000);
    assert_false(flags & 0x0060); /* Z, AD */
    assert_true((flags & 0xf) < 6);
    say(text, "%s%s%s%s%s%s", rcodes[flags & 0xf], flags & 0x400 ? " aa" : "",
        flags & 0x200 ? " tc" : "", flags & 0x100 ? " rd" : "", flags & 0x80 ? " ra" : "",
        flags & 0x10 ? " cd" : "");
    if (flags >> 11 & 0xf) {
        say(text, " op=%u", flags >> 11 & 0xf);
    }
    say(text, "\n");
    unsigned counts[4];
    for (int i = 0; i < 4; i++) {
        counts[i] = read_u16(&r);
    }
    assert_true(counts[0] <= 1);
    if (counts[0] == 1) {
        char name[1024];
        read_name(&r, name);
        r.at += 4;
    } else {
        say(text, "no question\n");
    }
    static const char *const sections[] = {"", "ans", "auth", "add"};
    for (int section = 1; section < 4; section++) {
        for (unsigned i = 0; i < counts[section]; i++) {
            read_record(&r, sections[section], text);
        }
    }
    assert_int_equal(r.at, size);
}

static inline const struct dns_snapshot *world_snapshot(struct world *w) {
    if (w->snapshot == NULL) {
        struct err_text text = {""};
        w->snapshot = dns_snapshot_create(&w->config, &text);
        assert_non_null(w->snapshot);
    }
    return w->snapshot;
}

/* After a change of w->config. */
static inline void world_reconfigure(struct world *w) {
    free(w->snapshot);
    w->snapshot = NULL;
}

static inline size_t world_answer(struct world *w, const uint8_t *request, size_t bytes, bool tcp,
                                  bool ready) {
    /* In a block of its exact size, so that reading past it is found. */
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    memcpy(copy, request, bytes);
    epoch_enter(w->epoch);
    const struct dns_resolved nothing = {.rand = NULL};
    struct dns_question question = {.request = copy,
                                    .request_bytes = bytes,
                                    .tcp = tcp,
                                    .view = ready ? catalog_view(w->catalog) : NULL,
                                    .backend = w->backend,
                                    .partial = w->partial,
                                    .resolved = w->asked ? &nothing : NULL,
                                    .far_failed = w->asked,
                                    .wall_s = 1700000000};
    w->out_bytes = dns_answer(w->scratch, world_snapshot(w), &question, w->out);
    epoch_exit(w->epoch);
    free(copy);
    return w->out_bytes;
}

static inline const char *world_ask(struct world *w, struct ask ask) {
    uint8_t request[1024];
    size_t bytes = ask_encode(&ask, request);
    assert_true(world_answer(w, request, bytes, ask.tcp, !ask.not_ready) > 0);
    answer_format(w->out, w->out_bytes, w->text);
    return w->text;
}

static inline unsigned count_lines(const char *text, const char *part) {
    unsigned count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

#define ASK(w, name_, type_) world_ask((w), (struct ask){.name = (name_), .type = (type_)})
#define ASK_EDNS(w, name_, type_)                                                                  \
    world_ask((w), (struct ask){.name = (name_), .type = (type_), .edns = 1232})

#define SOA_LINE "auth consul. 0 SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0\n"

#endif
