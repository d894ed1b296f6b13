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
#include "raft/raft.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/raft/*.txt"
#define RUNS_MAX 16

struct session {
    struct raft *raft;
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
    if (output->append.count > 0) {
        buf_append_format(out, "  append %" PRIu64 "..%" PRIu64 " term=%" PRIu64 " %s\n",
                          output->append.first, output->append.first + output->append.count - 1,
                          output->append.term, kinds[output->append.kind]);
    }
    if (output->apply_first <= output->apply_last) {
        buf_append_format(out, "  apply %" PRIu64 "..%" PRIu64 "\n", output->apply_first,
                          output->apply_last);
    }
    if (output->compact_to > 0) {
        buf_append_format(out, "  compact-to %" PRIu64 "\n", output->compact_to);
    }
    buf_append_format(out, "  %s%s%s term=%" PRIu64 " leader=%c commit=%" PRIu64,
                      output->role_changed ? "now " : "", raft_role_name(output->role),
                      output->leader_ready ? " ready" : "", output->term,
                      output->leader_known ? letter_of(&output->leader) : '-', output->commit);
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
    session->raft = raft_create(&(struct raft_options){.self = id});
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
    step(session, &event);
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

static void run_command(struct session *session, const char *command) {
    struct raft_event event = {0};
    if (is(command, "start")) {
        start(session, command);
        return;
    }
    if (is(command, "status")) {
        print_status(session);
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
    } else if (is(command, "hard-state-persisted")) {
        event.kind = RAFT_EVENT_HARD_STATE_PERSISTED;
        event.hard_state_persisted.hard_state =
            strchr(command, '=') != NULL ? hard_state_of(command) : session->asked;
    } else if (is(command, "persisted")) {
        event.kind = RAFT_EVENT_PERSISTED;
        event.persisted.term = number_of(command, "term");
        event.persisted.index = number_of(command, "index");
    } else if (is(command, "snapshot-taken")) {
        event.kind = RAFT_EVENT_SNAPSHOT_TAKEN;
        event.snapshot_taken.index = number_of(command, "index");
        event.snapshot_taken.term = number_of(command, "term");
    } else if (is(command, "timer")) {
        event.kind = RAFT_EVENT_TIMER;
    } else if (is(command, "disk-failed")) {
        event.kind = RAFT_EVENT_DISK_FAILED;
    } else {
        fail_msg("no such command: %s", command);
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
