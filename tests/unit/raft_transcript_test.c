/* The core as text: tests/transcripts/raft/<what>.txt holds commands, each followed by what the
 * core answered, indented. CAIRN_REWRITE=1 writes the answers anew, to be reviewed as a diff. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "raft/internal.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/raft/*.txt"
#define RUNS_MAX 16

struct session {
    struct raft *raft;
    struct raft_id self;
    uint64_t now_ms;
    struct raft_hard_state asked; /* by the last output that asked for a write */
    struct buf out;
};

static struct raft_id id_of(char letter) {
    struct raft_id id = {0};
    id.node.bytes[0] = (uint8_t)letter;
    id.disk.bytes[0] = (uint8_t)letter;
    return id;
}

static char letter_of(const struct raft_id *id) {
    return (char)id->node.bytes[0];
}

/* "AB~C": voters A and C, learner B. "-": none. */
static struct raft_configuration configuration_of(const char *s) {
    struct raft_configuration configuration = {0};
    for (; *s >= 'A' && *s <= 'Z'; s++) {
        struct raft_server *server = &configuration.servers[configuration.count++];
        *server = (struct raft_server){.id = id_of(*s), .voter = s[1] != '~'};
        s += s[1] == '~';
    }
    return configuration;
}

/* The value of name= in a command; "" if it is not there. */
static const char *value_of(const char *command, const char *name) {
    static char value[256];
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

static struct raft_hard_state hard_state_of(const char *command) {
    struct raft_hard_state state = {.term = number_of(command, "term")};
    const char *vote = value_of(command, "vote");
    if (vote[0] >= 'A') {
        state.voted = true;
        state.vote = id_of(vote[0]);
    }
    return state;
}

static void print_hard_state(struct buf *out, const struct raft_hard_state *state) {
    buf_append_format(out, "term=%" PRIu64 " vote=%c", state->term,
                      state->voted ? letter_of(&state->vote) : '-');
}

static void print_append_answer(struct buf *out, const struct raft_message *m) {
    if (m->append_answer.success) {
        buf_append_format(out, " match=%" PRIu64, m->append_answer.match);
    } else {
        buf_append_format(out, " refused=%" PRIu64 " hint=%" PRIu64 "/%" PRIu64,
                          m->append_answer.rejected, m->append_answer.hint_index,
                          m->append_answer.hint_term);
    }
    buf_append_format(out, " round=%" PRIu64 "%s", m->append_answer.round,
                      m->append_answer.repairing ? " repairing" : "");
}

static void print_append(struct buf *out, const struct raft_message *m) {
    buf_append_format(out, " prev=%" PRIu64 "/%" PRIu64, m->append.prev_index, m->append.prev_term);
    if (m->append.count > 0) {
        buf_append_format(out, " entries=%" PRIu64 "..%" PRIu64 "/%" PRIu64,
                          m->append.prev_index + 1, m->append.prev_index + m->append.count,
                          m->append.entry_term);
    }
    buf_append_format(out, " commit=%" PRIu64 " round=%" PRIu64, m->append.commit, m->append.round);
    if (m->append.repair_to > 0) {
        buf_append_format(out, " repair-to=%" PRIu64, m->append.repair_to);
    }
}

static void show_message(struct buf *out, const struct raft_message *m) {
    buf_append_format(out, "  to %c: %s term=%" PRIu64, letter_of(&m->to),
                      raft_message_kind_name(m->kind), m->term);
    switch (m->kind) {
    case RAFT_MESSAGE_VOTE_REQUEST:
        buf_append_format(out, " last=%" PRIu64 "/%" PRIu64 "%s%s", m->vote_request.last_index,
                          m->vote_request.last_term, m->vote_request.pre_vote ? " pre-vote" : "",
                          m->vote_request.transfer ? " transfer" : "");
        break;
    case RAFT_MESSAGE_VOTE_ANSWER:
        buf_append_format(out, "%s%s", m->vote_answer.granted ? " granted" : " refused",
                          m->vote_answer.pre_vote ? " pre-vote" : "");
        break;
    case RAFT_MESSAGE_APPEND:
        print_append(out, m);
        break;
    case RAFT_MESSAGE_APPEND_ANSWER:
        print_append_answer(out, m);
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        buf_append_format(out, " snapshot=%" PRIu64 "/%" PRIu64 " offset=%" PRIu64,
                          m->snapshot.index, m->snapshot.term, m->snapshot.offset);
        break;
    case RAFT_MESSAGE_SNAPSHOT_ANSWER:
        buf_append_format(out, " snapshot=%" PRIu64 "/%" PRIu64 " wants=%" PRIu64,
                          m->snapshot_answer.index, m->snapshot_answer.term,
                          m->snapshot_answer.offset);
        break;
    case RAFT_MESSAGE_TIMEOUT_NOW:
        break;
    }
    buf_append_str(out, "\n");
}

/* What only groups of several servers see. */
static void print_rest(struct buf *out, const struct raft_output *output) {
    for (uint32_t i = 0; i < output->message_count; i++) {
        show_message(out, &output->messages[i]);
    }
    if (output->snapshot_piece) {
        buf_append_str(out, "  write-piece\n");
    }
    if (output->install) {
        buf_append_format(out, "  install %" PRIu64 "/%" PRIu64 " configuration=%" PRIu64 "\n",
                          output->install_index, output->install_term,
                          output->install_configuration.index);
    }
    if (output->repaired) {
        buf_append_str(out, "  repaired\n");
    }
    for (uint32_t i = 0; i < output->read_count; i++) {
        buf_append_format(out, "  read ticket=%" PRIu64 " index=%" PRIu64 "\n",
                          output->reads[i].ticket, output->reads[i].index);
    }
}

static void print_output(struct session *session, enum err err, const struct raft_output *output) {
    static const char *const kinds[] = {"", "no-op", "configuration", "command"};
    struct buf *out = &session->out;
    if (err != ERR_OK) {
        buf_append_format(out, "  error: %s\n", err_name(err));
        return;
    }
    if (output->write_hard_state) {
        session->asked = output->hard_state;
        buf_append_str(out, "  write-hard-state ");
        print_hard_state(out, &output->hard_state);
        buf_append_str(out, "\n");
    }
    if (output->reset) {
        buf_append_format(out, "  reset-to %" PRIu64 "\n", output->reset_to);
    }
    if (output->truncate_from > 0) {
        buf_append_format(out, "  truncate-from %" PRIu64 "\n", output->truncate_from);
    }
    if (output->append.count > 0) {
        buf_append_format(out, "  append %" PRIu64 "..%" PRIu64 " term=%" PRIu64 " %s\n",
                          output->append.first, output->append.first + output->append.count - 1,
                          output->append.term,
                          output->append.received ? "received" : kinds[output->append.kind]);
    }
    print_rest(out, output);
    if (output->apply_first <= output->apply_last) {
        buf_append_format(out, "  apply %" PRIu64 "..%" PRIu64 "\n", output->apply_first,
                          output->apply_last);
    }
    if (output->compact_to > 0) {
        buf_append_format(out, "  compact-to %" PRIu64 "\n", output->compact_to);
    }
    buf_append_format(out, "  %s%s%s%s term=%" PRIu64 " leader=%c commit=%" PRIu64,
                      output->role_changed ? "now " : "", raft_role_name(output->role),
                      output->leader_ready ? " ready" : "",
                      output->transferring ? " transferring" : "", output->term,
                      output->leader_known ? letter_of(&output->leader) : '-', output->commit);
    if (output->lease_until_ms != 0 && output->lease_until_ms != RAFT_NEVER) {
        buf_append_format(out, " lease=%" PRIu64, output->lease_until_ms);
    }
    if (output->deadline_at_ms != RAFT_NEVER) {
        buf_append_format(out, " deadline=%" PRIu64, output->deadline_at_ms);
    }
    buf_append_str(out, "\n");
}

static void step(struct session *session, const struct raft_event *event) {
    struct raft_output output;
    enum err err = raft_step(session->raft, session->now_ms, event, &output);
    print_output(session, err, &output);
}

/* runs=1:1,5:2 */
static uint32_t parse_runs(const char *s, struct raft_run *runs) {
    uint32_t count = 0;
    while (*s >= '0' && *s <= '9' && count < RUNS_MAX) {
        char *end;
        runs[count].first = strtoull(s, &end, 10);
        runs[count].term = strtoull(end + 1, &end, 10);
        count++;
        s = *end == ',' ? end + 1 : end;
    }
    return count;
}

static void start(struct session *session, const char *command) {
    struct raft_run runs[RUNS_MAX];
    struct raft_event event = {.kind = RAFT_EVENT_START};
    struct raft_id id = id_of(value_of(command, "self")[0]);
    raft_destroy(session->raft);
    session->self = id;
    session->raft = raft_create(
        &(struct raft_options){.self = id,
                               .append_bytes = (uint32_t)number_of(command, "append-bytes"),
                               .inflight_bytes = (uint32_t)number_of(command, "inflight-bytes"),
                               .trailing_bytes = (uint32_t)number_of(command, "trailing-bytes")});
    event.start.hard_state = hard_state_of(command);
    event.start.snapshot_index = number_of(command, "snapshot");
    event.start.snapshot_term = number_of(command, "snapshot-term");
    event.start.log_first = number_of(command, "first");
    event.start.log_last = number_of(command, "last");
    event.start.run_count = parse_runs(value_of(command, "runs"), runs);
    event.start.runs = runs;
    struct raft_configuration_at at = {.index = number_of(command, "at"),
                                       .configuration =
                                           configuration_of(value_of(command, "configuration"))};
    event.start.configurations = &at;
    event.start.configuration_count = at.index > 0;
    event.start.needs_repair = number_of(command, "repair") > 0;
    step(session, &event);
}

static bool has(const char *command, const char *word) {
    char text[40];
    snprintf(text, sizeof text, " %s", word);
    const char *at = strstr(command, text);
    return at != NULL && (at[strlen(text)] == ' ' || at[strlen(text)] == '\0');
}

static enum raft_message_kind kind_of(const char *command) {
    for (int kind = RAFT_MESSAGE_VOTE_REQUEST; kind <= RAFT_MESSAGE_TIMEOUT_NOW; kind++) {
        if (has(command, raft_message_kind_name((enum raft_message_kind)kind))) {
            return (enum raft_message_kind)kind;
        }
    }
    fail_msg("no such message: %s", command);
    return 0;
}

static void fill_message(const char *command, struct raft_message *m,
                         const struct raft_configuration *configuration) {
    switch (m->kind) {
    case RAFT_MESSAGE_VOTE_REQUEST:
        m->vote_request.last_index = number_of(command, "last");
        m->vote_request.last_term = number_of(command, "last-term");
        m->vote_request.pre_vote = has(command, "pre-vote");
        m->vote_request.transfer = has(command, "transfer");
        break;
    case RAFT_MESSAGE_VOTE_ANSWER:
        m->vote_answer.granted = has(command, "granted");
        m->vote_answer.pre_vote = has(command, "pre-vote");
        break;
    case RAFT_MESSAGE_APPEND:
        m->append.prev_index = number_of(command, "prev");
        m->append.prev_term = number_of(command, "prev-term");
        m->append.count = (uint32_t)number_of(command, "count");
        m->append.entry_term = number_of(command, "entry-term");
        m->append.commit = number_of(command, "commit");
        m->append.round = number_of(command, "round");
        m->append.repair_to = number_of(command, "repair-to");
        break;
    case RAFT_MESSAGE_APPEND_ANSWER:
        m->append_answer.success = !has(command, "refused");
        m->append_answer.match = number_of(command, "match");
        m->append_answer.rejected = number_of(command, "at");
        m->append_answer.hint_index = number_of(command, "hint");
        m->append_answer.hint_term = number_of(command, "hint-term");
        m->append_answer.round = number_of(command, "round");
        m->append_answer.sent_at_ms = number_of(command, "sent");
        m->append_answer.repairing = has(command, "repairing");
        m->append_answer.life = number_of(command, "life");
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        m->snapshot.index = number_of(command, "snapshot");
        m->snapshot.term = number_of(command, "snapshot-term");
        m->snapshot.offset = number_of(command, "offset");
        m->snapshot.bytes = (uint32_t)number_of(command, "bytes");
        m->snapshot.done = has(command, "done");
        m->snapshot.configuration_index = 1;
        m->snapshot.configuration = configuration;
        break;
    case RAFT_MESSAGE_SNAPSHOT_ANSWER:
        m->snapshot_answer.index = number_of(command, "snapshot");
        m->snapshot_answer.term = number_of(command, "snapshot-term");
        m->snapshot_answer.offset = number_of(command, "wants");
        break;
    case RAFT_MESSAGE_TIMEOUT_NOW:
        break;
    }
}

/* message from=B append term=2 ... The repair's life is whatever this server's own is. */
static void receive(struct session *session, const char *command) {
    struct raft_entry_head heads[64];
    struct raft_message m = {.kind = kind_of(command), .term = number_of(command, "term")};
    struct raft_configuration_at at = {.index = number_of(command, "configuration-at"),
                                       .configuration =
                                           configuration_of(value_of(command, "configuration"))};
    fill_message(command, &m, &at.configuration);
    m.from = id_of(value_of(command, "from")[0]);
    m.to = session->self;
    if (m.kind == RAFT_MESSAGE_APPEND) {
        m.append.repair_life = session->raft->life;
    }
    for (uint32_t i = 0; i < 64; i++) {
        heads[i] = (struct raft_entry_head){.kind = RAFT_ENTRY_COMMAND, .size = 100};
    }
    struct raft_event event = {.kind = RAFT_EVENT_MESSAGE,
                               .message = {.message = &m,
                                           .entries = heads,
                                           .configurations = &at,
                                           .configuration_count = at.index > 0}};
    step(session, &event);
}

static void print_peers(struct session *session) {
    struct raft_peer_status peer;
    for (uint32_t i = 0; i < raft_get_configuration(session->raft)->count; i++) {
        if (raft_get_peer(session->raft, i, &peer)) {
            buf_append_format(&session->out, "  %c%s match=%" PRIu64 " next=%" PRIu64 "%s%s\n",
                              letter_of(&peer.id), peer.voter ? "" : "~", peer.match, peer.next,
                              peer.snapshot ? " snapshot" : "", peer.repairing ? " repairing" : "");
        }
    }
}

static void print_configuration(struct session *session) {
    const struct raft_configuration *configuration = raft_get_configuration(session->raft);
    buf_append_str(&session->out, "  ");
    for (uint32_t i = 0; i < configuration->count; i++) {
        buf_append_format(&session->out, "%c%s", letter_of(&configuration->servers[i].id),
                          configuration->servers[i].voter ? "" : "~");
    }
    buf_append_str(&session->out, "\n");
}

static void print_status(struct session *session) {
    struct raft_status s;
    raft_get_status(session->raft, &s);
    buf_append_format(&session->out, "  %s ", raft_role_name(s.role));
    print_hard_state(&session->out, &s.hard_state);
    buf_append_format(&session->out,
                      " snapshot=%" PRIu64 "/%" PRIu64 " log=%" PRIu64 "..%" PRIu64
                      " persisted=%" PRIu64 " commit=%" PRIu64 " configuration=%" PRIu64 "%s\n",
                      s.snapshot_index, s.snapshot_term, s.first, s.last, s.persisted, s.commit,
                      s.configuration_index, s.disk_failed ? " disk-failed" : "");
}

static bool is(const char *command, const char *word) {
    size_t n = strlen(word);
    return strncmp(command, word, n) == 0 && (command[n] == ' ' || command[n] == '\0');
}

static void parse_more(const char *command, struct raft_event *event) {
    const char *id = value_of(command, "id");
    if (is(command, "read")) {
        event->kind = RAFT_EVENT_READ;
        event->read.ticket = number_of(command, "ticket");
    } else if (is(command, "add-learner") || is(command, "promote") || is(command, "remove")) {
        event->kind = RAFT_EVENT_CHANGE;
        event->change.kind = command[0] == 'a'   ? RAFT_CHANGE_ADD_LEARNER
                             : command[0] == 'p' ? RAFT_CHANGE_PROMOTE
                                                 : RAFT_CHANGE_REMOVE;
        event->change.id = id_of(id[0]);
    } else if (is(command, "transfer")) {
        event->kind = RAFT_EVENT_TRANSFER;
        event->transfer.any = id[0] == '\0';
        event->transfer.to = id_of(id[0]);
    } else if (is(command, "may-lead") || is(command, "may-not-lead")) {
        event->kind = RAFT_EVENT_MAY_LEAD;
        event->may_lead.may = is(command, "may-lead");
    } else if (is(command, "unreachable") || is(command, "snapshot-gone")) {
        event->kind = command[0] == 'u' ? RAFT_EVENT_UNREACHABLE : RAFT_EVENT_SNAPSHOT_GONE;
        event->unreachable.id = id_of(id[0]);
    } else if (is(command, "snapshot-written")) {
        event->kind = RAFT_EVENT_SNAPSHOT_WRITTEN;
        event->snapshot_written.offset = number_of(command, "offset");
        event->snapshot_written.index = number_of(command, "index");
        event->snapshot_written.term = number_of(command, "term");
    } else if (is(command, "snapshot-installed") || is(command, "snapshot-failed")) {
        event->kind =
            command[9] == 'i' ? RAFT_EVENT_SNAPSHOT_INSTALLED : RAFT_EVENT_SNAPSHOT_FAILED;
        event->snapshot_installed.index = number_of(command, "index");
        event->snapshot_installed.term = number_of(command, "term");
    } else if (is(command, "repair-noted")) {
        event->kind = RAFT_EVENT_REPAIR_NOTED;
    } else {
        fail_msg("no such command: %s", command);
    }
}

static void run_command(struct session *session, const char *command) {
    struct raft_event event = {0};
    uint32_t sizes[64];
    if (is(command, "start")) {
        start(session, command);
        return;
    }
    if (is(command, "status")) {
        print_status(session);
        return;
    }
    if (is(command, "peers")) {
        print_peers(session);
        return;
    }
    if (is(command, "configuration")) {
        print_configuration(session);
        return;
    }
    if (is(command, "message")) {
        receive(session, command);
        return;
    }
    if (is(command, "wait")) {
        session->now_ms += number_of(command, "ms");
        return;
    }
    if (is(command, "term-of")) {
        buf_append_format(&session->out, "  %" PRIu64 "\n",
                          raft_get_term(session->raft, number_of(command, "index")));
        return;
    }
    if (is(command, "bootstrap")) {
        event.kind = RAFT_EVENT_BOOTSTRAP;
        event.bootstrap.configuration = configuration_of(value_of(command, "configuration"));
    } else if (is(command, "propose")) {
        event.kind = RAFT_EVENT_PROPOSE;
        event.propose.count = (uint32_t)number_of(command, "count");
        for (uint32_t i = 0; i < 64; i++) {
            sizes[i] = (uint32_t)number_of(command, "bytes");
        }
        event.propose.sizes = event.propose.count <= 64 ? sizes : NULL;
    } else if (is(command, "hard-state-persisted")) {
        event.kind = RAFT_EVENT_HARD_STATE_PERSISTED;
        event.hard_state_persisted.hard_state =
            strchr(command, '=') != NULL ? hard_state_of(command) : session->asked;
    } else if (is(command, "persisted")) {
        event.kind = RAFT_EVENT_PERSISTED;
        event.persisted.term = number_of(command, "term");
        event.persisted.index = number_of(command, "index");
        event.persisted.cuts = number_of(command, "cuts");
    } else if (is(command, "snapshot-taken")) {
        event.kind = RAFT_EVENT_SNAPSHOT_TAKEN;
        event.snapshot_taken.index = number_of(command, "index");
        event.snapshot_taken.term = number_of(command, "term");
    } else if (is(command, "timer")) {
        event.kind = RAFT_EVENT_TIMER;
    } else if (is(command, "disk-failed")) {
        event.kind = RAFT_EVENT_DISK_FAILED;
    } else {
        parse_more(command, &event);
    }
    step(session, &event);
}

static void run_line(void *context, const char *line) {
    run_command(context, line);
}

static void run_transcript(const char *path) {
    struct session session = {.now_ms = 1000};
    transcript_run(path, &session.out, run_line, &session);
    raft_destroy(session.raft);
}

static void transcripts(void **state) {
    (void)state;
    transcript_run_all(PATTERN, 5, run_transcript);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(transcripts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
