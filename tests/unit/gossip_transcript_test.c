/* The core as text: tests/transcripts/gossip/<what>.txt holds commands, each followed by what the
 * core answered, indented. CAIRN_REWRITE=1 writes the answers anew, to be reviewed as a diff.
 * Members are letters; "c@5.1" is c at boot epoch 5, counter 1. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mutant.h"
#include "gossip/gossip.h"
#include "gossip/message.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/gossip/*.txt"

struct session {
    struct gossip *gossip;
    struct gossip_descriptors *descriptors;
    struct gossip_output output;
    uint64_t now_ms;
    uint32_t pool;
    uint32_t sequence[128]; /* of the last ping to a letter */
    struct buf out;
    struct buf packet;
};

static struct gossip_address address_of(char letter) {
    return (struct gossip_address){
        .ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)letter}, .port = {0x20, 0x6d}};
}

static struct uuid id_of(char letter) {
    struct uuid id;
    memset(id.bytes, letter, sizeof id.bytes);
    return id;
}

static struct gossip_info info_of(char letter, bool server, const char *version,
                                  struct str_pair *pair, char name[16]) {
    snprintf(name, 16, "node-%c", letter);
    *pair = (struct str_pair){"version", version};
    return (struct gossip_info){.id = id_of(letter),
                                .name = name,
                                .address = address_of(letter),
                                .server = server,
                                .protocol_min = GOSSIP_PROTOCOL_MIN,
                                .protocol_max = GOSSIP_PROTOCOL_MAX,
                                .tags = {.v = pair, .count = version[0] != '\0'}};
}

static const char *value_of(const char *command, const char *name) {
    static char value[512];
    char key[32];
    snprintf(key, sizeof key, " %s=", name);
    const char *at = strstr(command, key);
    value[0] = '\0';
    if (at != NULL) {
        at += strlen(key);
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, " "), at);
    }
    return value;
}

static uint64_t number_of(const char *command, const char *name) {
    return strtoull(value_of(command, name), NULL, 10);
}

static struct gossip_incarnation incarnation_of(const char *s) {
    struct gossip_incarnation incarnation = {0};
    char *end;
    incarnation.boot_epoch = (uint32_t)strtoul(s, &end, 10);
    incarnation.counter = *end == '.' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
    return incarnation;
}

/* ---- what came out ---- */

static void print_incarnation(struct buf *out, struct gossip_incarnation incarnation) {
    buf_append_format(out, "@%u.%u", incarnation.boot_epoch, incarnation.counter);
}

static void print_section(struct session *session, uint8_t kind, struct reader body, char to) {
    static const char *const names[] = {[MESSAGE_PING] = "ping",
                                        [MESSAGE_ACK] = "ack",
                                        [MESSAGE_NACK] = "nack",
                                        [MESSAGE_RELAY] = "relay",
                                        [MESSAGE_ALIVE] = "alive",
                                        [MESSAGE_SUSPECT] = "suspect",
                                        [MESSAGE_DEAD] = "dead",
                                        [MESSAGE_LEFT] = "left",
                                        [MESSAGE_REMOVED] = "removed",
                                        [MESSAGE_EVENT] = "event",
                                        [MESSAGE_EVENT_CLOCK] = "event-clock",
                                        [MESSAGE_STREAM_PING] = "stream-ping",
                                        [MESSAGE_STREAM_ACK] = "stream-ack",
                                        [MESSAGE_SYNC_FULL] = "sync-full",
                                        [MESSAGE_SYNC_DIGEST] = "sync-digest",
                                        [MESSAGE_SYNC_BUCKETS] = "sync-buckets",
                                        [MESSAGE_MEMBER] = "member"};
    struct buf *out = &session->out;
    buf_append_format(out, " %s", names[kind]);
    if (kind == MESSAGE_PING) {
        session->sequence[(int)to] = reader_u32(&body);
    } else if (kind == MESSAGE_RELAY) {
        (void)reader_bytes(&body, 5);
        buf_append_format(out, " %c", reader_id(&body).bytes[0]);
    } else if (kind == MESSAGE_ALIVE || kind == MESSAGE_MEMBER) {
        uint8_t state = kind == MESSAGE_MEMBER ? reader_u8(&body) : 0;
        struct gossip_incarnation incarnation = reader_incarnation(&body);
        if (kind == MESSAGE_MEMBER) {
            (void)reader_varint(&body);
        }
        (void)reader_varint(&body);
        buf_append_format(out, " %c", reader_id(&body).bytes[0]);
        print_incarnation(out, incarnation);
        if (kind == MESSAGE_MEMBER) {
            buf_append_format(out, ":%s", gossip_state_name((enum gossip_state)state));
        }
    } else if (kind >= MESSAGE_SUSPECT && kind <= MESSAGE_REMOVED) {
        buf_append_format(out, " %c", reader_id(&body).bytes[0]);
        print_incarnation(out, reader_incarnation(&body));
        if (kind == MESSAGE_SUSPECT) {
            buf_append_format(out, " by %u", reader_u8(&body));
        }
    } else if (kind == MESSAGE_EVENT) {
        char letter = (char)reader_id(&body).bytes[0];
        uint64_t ltime = reader_u64(&body);
        uint32_t age = reader_varint(&body);
        uint32_t size = reader_varint(&body);
        buf_append_format(out, " %c/%" PRIu64 " age=%u \"%.*s\"", letter, ltime, age,
                          (int)(size > 20 ? 20 : size), (const char *)reader_bytes(&body, size));
    } else if (kind == MESSAGE_EVENT_CLOCK) {
        buf_append_format(out, " %" PRIu64, reader_u64(&body));
    } else if (kind == MESSAGE_SYNC_FULL || kind == MESSAGE_SYNC_BUCKETS) {
        buf_append_str(out, (reader_u8(&body) & SYNC_REPLY) != 0 ? " reply" : "");
    }
}

static void print_bytes(struct session *session, uint32_t offset, uint32_t size, char to) {
    const uint8_t *data = (const uint8_t *)session->output.bytes.data + offset;
    struct reader reader = {.at = data, .end = data + size};
    assert_int_equal(reader_u8(&reader), MESSAGE_VERSION);
    session->pool = reader_u32(&reader);
    uint8_t kind;
    struct reader body;
    while (reader_section(&reader, &kind, &body)) {
        print_section(session, kind, body, to);
    }
    assert_false(reader.failed);
    buf_append_str(&session->out, "\n");
}

static void print_change(struct session *session, const struct gossip_change *change) {
    struct buf *out = &session->out;
    buf_append_format(out, "  %s", gossip_change_name(change->kind));
    if (change->descriptor != NULL) {
        buf_append_format(out, " %c", change->descriptor->info.id.bytes[0]);
        print_incarnation(out, change->incarnation);
    }
    if (change->kind == GOSSIP_CHANGE_NAME_CLASH) {
        buf_append_format(out, " with %c", change->other->info.id.bytes[0]);
    } else if (change->kind == GOSSIP_CHANGE_ID_CLASH) {
        buf_append_format(out, " with address %c", change->address.ip[15]);
    } else if (change->kind == GOSSIP_CHANGE_JOIN_DONE) {
        buf_append_format(out, " members=%u", change->members);
    } else if (change->kind == GOSSIP_CHANGE_USER_EVENT) {
        buf_append_format(out, " %c/%" PRIu64 " \"%.*s\"", change->event_id.bytes[0], change->ltime,
                          (int)(change->size > 20 ? 20 : change->size),
                          session->output.bytes.data + change->offset);
    }
    buf_append_str(out, "\n");
}

static void step(struct session *session, const struct gossip_event *event) {
    static const char *const actions[] = {"open", "send", "close"};
    struct gossip_output *output = &session->output;
    enum err err = gossip_step(session->gossip, session->now_ms, event, output);
    if (err != ERR_OK) {
        buf_append_format(&session->out, "  error: %s\n", err_name(err));
    }
    for (uint32_t i = 0; i < output->change_count; i++) {
        print_change(session, &output->changes[i]);
    }
    for (uint32_t i = 0; i < output->packet_count; i++) {
        char to = (char)output->packets[i].to.ip[15];
        buf_append_format(&session->out, "  to %c:", to);
        print_bytes(session, output->packets[i].offset, output->packets[i].size, to);
    }
    for (uint32_t i = 0; i < output->stream_count; i++) {
        const struct gossip_stream *stream = &output->streams[i];
        buf_append_format(&session->out, "  %s %s%" PRIu64, actions[stream->action],
                          (stream->stream & GOSSIP_STREAM_OWN) != 0 ? "own-" : "",
                          stream->stream & ~GOSSIP_STREAM_OWN);
        if (stream->action == GOSSIP_STREAM_OPEN) {
            buf_append_format(&session->out, " to %c", stream->to.ip[15]);
        }
        if (stream->action == GOSSIP_STREAM_CLOSE) {
            buf_append_str(&session->out, "\n");
        } else {
            buf_append_str(&session->out, ":");
            print_bytes(session, stream->offset, stream->size, 0);
        }
    }
    if (output->store_boot_epoch) {
        buf_append_format(&session->out, "  store-boot-epoch %u\n", output->boot_epoch);
    }
}

/* ---- commands ---- */

static void start(struct session *session, const char *command) {
    struct gossip_config config = gossip_config_lan();
    struct rand rand;
    struct str_pair pair;
    char name[16];
    gossip_destroy(session->gossip);
    rand_init(&rand, 1);
    config.coordinates = false;
    config.lifeguard = strstr(command, " plain") == NULL;
    struct gossip_info info =
        info_of(value_of(command, "self")[0], strstr(command, " server") != NULL, "", &pair, name);
    assert_int_equal(gossip_create(&config, &info, (uint32_t)number_of(command, "boot"),
                                   session->now_ms, &rand, session->descriptors, &session->gossip,
                                   NULL),
                     ERR_OK);
}

/* load b..f@5 */
static void load(struct session *session, const char *command) {
    const char *at = strchr(command, ' ') + 1;
    char last = at[1] == '.' ? at[3] : at[0];
    struct gossip_incarnation incarnation = incarnation_of(strchr(at, '@') + 1);
    for (char letter = at[0]; letter <= last; letter++) {
        struct str_pair pair;
        char name[16];
        struct gossip_info info =
            info_of(letter, strstr(command, " server") != NULL, "", &pair, name);
        assert_int_equal(gossip_load_member(session->gossip, &info, incarnation), ERR_OK);
    }
}

static void write_descriptor(struct session *session, char letter, const char *command) {
    struct str_pair pair;
    char name[16], version[16];
    snprintf(version, sizeof version, "%s", value_of(command, "version"));
    struct gossip_info info =
        info_of(letter, strstr(command, " server") != NULL, version, &pair, name);
    const char *other = value_of(command, "address");
    info.address = other[0] != '\0' ? address_of(other[0]) : info.address;
    char other_name[64];
    snprintf(other_name, sizeof other_name, "%s", value_of(command, "name"));
    info.name = other_name[0] != '\0' ? other_name : info.name;
    write_varint(&session->packet, (uint32_t)descriptor_encoded_bytes(&info));
    descriptor_encode(&info, &session->packet);
}

/* The body is written behind a section head that is put right afterwards. */
static void write_body(struct session *session, enum message_kind kind,
                       void (*write)(struct session *, const char *, const char *),
                       const char *word, const char *command) {
    struct buf whole = session->packet;
    buf_init(&session->packet, 65536);
    write(session, word, command);
    struct buf body = session->packet;
    session->packet = whole;
    write_section(&session->packet, kind, body.count);
    buf_append(&session->packet, body.data, body.count);
    buf_clear(&body);
}

static void alive_body(struct session *session, const char *word, const char *command) {
    write_incarnation(&session->packet, incarnation_of(word + 2));
    write_descriptor(session, word[0], command);
}

static void rumour_body(struct session *session, const char *word, const char *command) {
    struct uuid id = id_of(word[0]);
    write_id(&session->packet, &id);
    write_incarnation(&session->packet, incarnation_of(word + 2));
    if (strncmp(command, "hear-suspect", 12) == 0) { /* by=bc: accusers, upper case: port closed */
        char by[16];
        snprintf(by, sizeof by, "%s", value_of(command, "by"));
        buf_append_byte(&session->packet, (char)strlen(by));
        for (const char *at = by; *at != '\0'; at++) {
            bool closed = *at < 'a';
            write_u32(&session->packet, (uint32_t)(*at | 0x20) << 8 | closed);
        }
    } else if (strncmp(command, "hear-left", 9) == 0) {
        buf_append_byte(&session->packet, 0);
    }
}

static void ping_body(struct session *session, const char *word, const char *command) {
    (void)command;
    struct uuid source_id = id_of(word[0]);
    struct gossip_member self, source = {0};
    assert_true(gossip_member_at(session->gossip, 0, &self));
    write_u32(&session->packet, 7);
    buf_append_byte(&session->packet, 0);
    gossip_find_id(session->gossip, &source_id, &source);
    write_u32(&session->packet, (uint32_t)self.descriptor->id_hash);
    write_u32(&session->packet,
              source.descriptor != NULL ? (uint32_t)source.descriptor->id_hash : 0);
    write_u32(&session->packet, 0);
}

static void answer_body(struct session *session, const char *word, const char *command) {
    write_u32(&session->packet, session->sequence[(int)word[0]]);
    if (strncmp(command, "hear-ack", 8) == 0) {
        buf_append_byte(&session->packet, 0);
    }
}

/* x/7 [age=ms]: event x of ltime 7, its body says "x". */
static void event_body(struct session *session, const char *word, const char *command) {
    struct uuid id = id_of(word[0]);
    write_id(&session->packet, &id);
    write_u64(&session->packet, strtoull(word + 2, NULL, 10));
    write_varint(&session->packet, (uint32_t)number_of(command, "age"));
    write_varint(&session->packet, 1);
    buf_append_byte(&session->packet, word[0]);
}

static void clock_body(struct session *session, const char *word, const char *command) {
    (void)command;
    write_u64(&session->packet, strtoull(word, NULL, 10));
}

static void member_body(struct session *session, const char *word, const char *command) {
    static const char *const states[] = {"alive", "suspect", "dead", "left", "removed"};
    uint8_t state = 0;
    for (uint8_t i = 0; i < 5; i++) {
        state = strstr(word, states[i]) != NULL ? i : state;
    }
    buf_append_byte(&session->packet, (char)state);
    write_incarnation(&session->packet, incarnation_of(word + 2));
    write_varint(&session->packet, (uint32_t)number_of(command, "age"));
    if (strstr(word, "broken") != NULL) {
        write_varint(&session->packet, 3);
        buf_append(&session->packet, "xyz", 3);
    } else {
        write_descriptor(session, word[0], command);
    }
}

static void sync_body(struct session *session, const char *word, const char *command) {
    (void)word;
    struct uuid id = id_of(value_of(command, "from")[0]);
    buf_append_byte(&session->packet, strstr(command, " reply") != NULL ? SYNC_REPLY : 0);
    write_id(&session->packet, &id);
}

/* sync from=b stream=1|own-1 [reply] members=c@5.0:alive,d@5.1:dead */
static void hear_sync(struct session *session, const char *command) {
    char members[512];
    write_body(session, MESSAGE_SYNC_FULL, sync_body, "", command);
    snprintf(members, sizeof members, "%s", value_of(command, "members"));
    for (char *at = strtok(members, ","); at != NULL; at = strtok(NULL, ",")) {
        write_body(session, MESSAGE_MEMBER, member_body, at, command);
    }
    if (*value_of(command, "clock") != '\0') {
        write_body(session, MESSAGE_EVENT_CLOCK, clock_body, value_of(command, "clock"), command);
    }
    snprintf(members, sizeof members, "%s", value_of(command, "events"));
    for (char *at = strtok(members, ","); at != NULL; at = strtok(NULL, ",")) {
        write_body(session, MESSAGE_EVENT, event_body, at, command);
    }
    const char *stream = value_of(command, "stream");
    bool own = strncmp(stream, "own-", 4) == 0;
    struct gossip_event event = {.kind = GOSSIP_EVENT_STREAM_MESSAGE};
    event.stream_message.stream =
        strtoull(stream + (own ? 4 : 0), NULL, 10) | (own ? GOSSIP_STREAM_OWN : 0);
    event.stream_message.from = address_of(value_of(command, "from")[0]);
    event.stream_message.data = (const uint8_t *)session->packet.data;
    event.stream_message.size = session->packet.count;
    step(session, &event);
}

struct hear {
    const char *word;
    enum message_kind kind;
    void (*write)(struct session *, const char *, const char *);
};

/* hear-<section> <letter>[@incarnation] from=b ... */
static bool hear(struct session *session, const char *command) {
    static const struct hear hears[] = {{"hear-alive", MESSAGE_ALIVE, alive_body},
                                        {"hear-suspect", MESSAGE_SUSPECT, rumour_body},
                                        {"hear-dead", MESSAGE_DEAD, rumour_body},
                                        {"hear-left", MESSAGE_LEFT, rumour_body},
                                        {"hear-removed", MESSAGE_REMOVED, rumour_body},
                                        {"hear-event", MESSAGE_EVENT, event_body},
                                        {"hear-ping", MESSAGE_PING, ping_body},
                                        {"hear-ack", MESSAGE_ACK, answer_body},
                                        {"hear-nack", MESSAGE_NACK, answer_body}};
    for (size_t i = 0; i < sizeof hears / sizeof hears[0]; i++) {
        size_t n = strlen(hears[i].word);
        if (strncmp(command, hears[i].word, n) == 0 && command[n] == ' ') {
            write_body(session, hears[i].kind, hears[i].write, command + n + 1, command);
            struct gossip_event event = {.kind = GOSSIP_EVENT_PACKET};
            event.packet.from = address_of(value_of(command, "from")[0]);
            event.packet.data = (const uint8_t *)session->packet.data;
            event.packet.size = session->packet.count;
            step(session, &event);
            return true;
        }
    }
    return false;
}

/* What is told of them is counted, not shown. */
static void flood(struct session *session, const char *command) {
    uint64_t first = number_of(command, "first"), count = number_of(command, "count");
    unsigned told = 0;
    for (uint64_t ltime = first; ltime < first + count; ltime++) {
        struct gossip_event event = {.kind = GOSSIP_EVENT_PACKET};
        struct uuid id = {{0}};
        memcpy(id.bytes, &ltime, sizeof ltime);
        buf_reset(&session->packet);
        write_head(&session->packet, session->pool);
        write_section(&session->packet, MESSAGE_EVENT, 16 + 8 + 1 + 1 + 1);
        write_id(&session->packet, &id);
        write_u64(&session->packet, ltime);
        write_varint(&session->packet, 0);
        write_varint(&session->packet, 1);
        buf_append_byte(&session->packet, 'f');
        event.packet.from = address_of(value_of(command, "from")[0]);
        event.packet.data = (const uint8_t *)session->packet.data;
        event.packet.size = session->packet.count;
        assert_int_equal(gossip_step(session->gossip, session->now_ms, &event, &session->output),
                         ERR_OK);
        told += session->output.change_count;
    }
    buf_append_format(&session->out, "  %u told\n", told);
}

/* Timers at their time, as a driver does it. */
static void run(struct session *session, uint64_t ms) {
    uint64_t end = session->now_ms + ms;
    struct gossip_event event = {.kind = GOSSIP_EVENT_TIMER};
    while (session->output.deadline_at_ms <= end) {
        if (session->output.deadline_at_ms > session->now_ms) {
            session->now_ms = session->output.deadline_at_ms;
        }
        size_t mark = session->out.count;
        buf_append_format(&session->out, "  %" PRIu64 " ms\n", session->now_ms);
        size_t start_at = session->out.count;
        step(session, &event);
        if (session->out.count == start_at) {
            session->out.count = mark; /* nothing to see */
        }
    }
    session->now_ms = end;
}

static void print_members(struct session *session) {
    for (uint32_t i = 0; i < gossip_member_slots(session->gossip); i++) {
        struct gossip_member member;
        if (gossip_member_at(session->gossip, i, &member)) {
            buf_append_format(&session->out, "  %c", member.descriptor->info.id.bytes[0]);
            print_incarnation(&session->out, member.incarnation);
            buf_append_format(&session->out, " %s%s %s\n", gossip_state_name(member.state),
                              member.frozen ? " frozen" : "", member.descriptor->info.name);
        }
    }
}

static void print_status(struct session *session) {
    struct gossip_status s;
    gossip_get_status(session->gossip, &s);
    buf_append_format(&session->out, "  alive=%u suspect=%u dead=%u left=%u awareness=%u%s\n",
                      s.alive, s.suspect, s.dead, s.left, s.awareness, s.guard_on ? " guard" : "");
    for (int i = GOSSIP_USER_EVENTS; i < GOSSIP_COUNTERS; i++) {
        if (s.counters[i] > 0) {
            buf_append_format(&session->out, "  %s=%" PRIu64 "\n",
                              gossip_counter_name((enum gossip_counter)i), s.counters[i]);
        }
    }
}

static bool is(const char *command, const char *word) {
    size_t n = strlen(word);
    return strncmp(command, word, n) == 0 && (command[n] == ' ' || command[n] == '\0');
}

static void run_event(struct session *session, const char *command) {
    struct gossip_event event = {0};
    const char *at = strchr(command, ' ');
    char letter = at != NULL ? at[1] : '\0';
    if (is(command, "timer")) {
        event.kind = GOSSIP_EVENT_TIMER;
    } else if (is(command, "join")) {
        event.kind = GOSSIP_EVENT_JOIN;
        event.join.address = address_of(letter);
    } else if (is(command, "leave")) {
        event.kind = GOSSIP_EVENT_LEAVE;
    } else if (is(command, "hint")) {
        event.kind = GOSSIP_EVENT_HINT;
        event.hint.id = id_of(letter);
    } else if (is(command, "closed-port")) {
        event.kind = GOSSIP_EVENT_CLOSED_PORT;
        event.closed_port.address = address_of(letter);
    } else if (is(command, "force-leave")) {
        event.kind = GOSSIP_EVENT_FORCE_LEAVE;
        event.force_leave.id = id_of(letter);
        event.force_leave.prune = strstr(command, " prune") != NULL;
    } else if (is(command, "fire")) { /* fire x [bytes=n] */
        static uint8_t bytes[4096];
        memset(bytes, letter, sizeof bytes);
        event.kind = GOSSIP_EVENT_FIRE;
        event.fire.id = id_of(letter);
        event.fire.data = bytes;
        event.fire.size = *value_of(command, "bytes") != '\0' ? number_of(command, "bytes") : 1;
    } else if (is(command, "tombstone")) {
        event.kind = GOSSIP_EVENT_TOMBSTONE;
        event.tombstone.id = id_of(letter);
        event.tombstone.incarnation = incarnation_of(at + 3);
        event.tombstone.prune = strstr(command, " listed") == NULL;
    } else {
        fail_msg("no such command: %s", command);
    }
    step(session, &event);
}

static void run_line(void *context, const char *command) {
    struct session *session = context;
    buf_reset(&session->packet);
    write_head(&session->packet, session->pool);
    if (is(command, "start")) {
        start(session, command);
        struct gossip_event event = {.kind = GOSSIP_EVENT_TIMER};
        step(session, &event);
    } else if (is(command, "load")) {
        load(session, command);
    } else if (is(command, "wait")) {
        session->now_ms += number_of(command, "ms");
    } else if (is(command, "run")) {
        run(session, number_of(command, "ms"));
    } else if (is(command, "members")) {
        print_members(session);
    } else if (is(command, "status")) {
        print_status(session);
    } else if (is(command, "flood")) { /* flood first=5 count=600 from=b: events of rising ltimes */
        flood(session, command);
    } else if (is(command, "sync")) {
        hear_sync(session, command);
    } else if (!hear(session, command)) {
        run_event(session, command);
    }
}

static void run_transcript(const char *path) {
    struct session session = {.now_ms = 1000};
    session.descriptors = gossip_descriptors_create();
    gossip_output_init(&session.output);
    buf_init(&session.packet, 65536);
    /* The hash of the pool's name is in whatever it sends. */
    run_line(&session, "start self=a boot=1");
    run_line(&session, "load b@1");
    session.out.max = 65536;
    run_line(&session, "hint b");
    buf_clear(&session.out);
    gossip_destroy(session.gossip);
    session.gossip = NULL;
    transcript_run(path, &session.out, run_line, &session);
    gossip_destroy(session.gossip);
    gossip_output_clear(&session.output);
    gossip_descriptors_destroy(session.descriptors);
    buf_clear(&session.packet);
}

#ifdef CAIRN_MUTANTS
/* Planted bugs that no seed finds, because the pool repairs what they break, or too few, and the
 * transcript that each makes answer otherwise. */
static const struct {
    const char *bug;
    const char *path;
} bugs[] = {
    {"buddy_missing", "tests/transcripts/gossip/buddy.txt"},
    {"refuted_outlives_removal", "tests/transcripts/gossip/tombstone.txt"},
    {"return_unnoticed", "tests/transcripts/gossip/identity.txt"},
    {"accuser_counted_twice", "tests/transcripts/gossip/suspicion.txt"},
    {"death_not_gossiped", "tests/transcripts/gossip/suspicion.txt"},
};
static const char *chosen;

bool mutant_is_on(const char *name) {
    return chosen != NULL && strcmp(chosen, name) == 0;
}

static void run_path(void **state) {
    run_transcript(*state);
}

/* In a child: a failure leaves everything as it is. */
static bool is_clean(const char *bug, const char *path) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char copy[256];
        snprintf(copy, sizeof copy, "%s", path);
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(run_path, copy)};
        chosen = bug;
        _exit(cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1);
    }
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

int main(void) {
    int missed = 0;
    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        bool found = !is_clean(bugs[i].bug, bugs[i].path);
        bool clean = is_clean(NULL, bugs[i].path);
        printf("%s: %s\n", bugs[i].bug,
               !clean  ? "fails without the bug"
               : found ? "found"
                       : "not found");
        missed += !found || !clean;
    }
    return missed > 0;
}
#else
static void transcripts(void **state) {
    (void)state;
    transcript_run_all(PATTERN, 9, run_transcript);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(transcripts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
