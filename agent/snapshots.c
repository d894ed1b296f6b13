#include "agent/snapshots.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/internal.h"
#include "base/container.h"
#include "base/mem.h"
#include "base/thread.h"
#include "net/crypto.h"

#define MODULE "agent.server.snapshot"
#define PART_BYTES ((size_t)64 * 1024) /* of records in a command: a small part of a slice */
#define REPEAT_MS 100                  /* between two tries of a part */
#define GIVE_UP_MS 30000 /* of one part: after that nobody knows what became of the restore */

struct snapshots {
    struct loop_task task;
    struct agent *agent;
    struct backend_call *call; /* NULL: idle */
    void (*done)(void *context);
    void *context;
    struct group_read read;
    bool threaded; /* to be joined */
    pthread_t thread;
    /* Saving. */
    int pin;
    const struct catalog_view *view;
    uint64_t term;
    struct buf out;
    /* Restoring. */
    struct archive archive;
    char id[UUID_TEXT_BYTES];
    size_t at;   /* in the records: behind those of the part that is under way */
    size_t from; /* its beginning */
    uint64_t part;
    int64_t give_up_at_ms; /* of this part */
    struct loop_timer again;
    struct group_proposal proposal;
    enum err err;
    struct err_text text;
};

static void finish(struct snapshots *s, enum err err, const struct err_text *text) {
    struct backend_call *call = s->call;
    if (s->threaded) {
        s->threaded = false;
        pthread_join(s->thread, NULL);
    }
    call->err = err;
    if (err != ERR_OK) {
        call->text = *text;
    }
    buf_clear(&s->out);
    archive_clear(&s->archive);
    s->call = NULL;
    s->done(s->context);
}

static void start_thread(struct snapshots *s, void *(*run)(void *context)) {
    s->threaded = true;
    thread_start_brief(&s->thread, run, s);
}

/* ---- saving ---- */

/* The thread. */
static void *write_archive(void *context) {
    struct snapshots *s = context;
    s->err = archive_write(s->view, s->term, clock_wall_ms(), &s->out, &s->text);
    epoch_unpin(s->agent->epoch, s->pin);
    loop_post(s->agent->loop, &s->task);
    return NULL;
}

static void saved(struct loop_task *task) {
    struct snapshots *s = CONTAINER_OF(task, struct snapshots, task);
    if (s->err == ERR_OK) {
        s->call->answer = buf_take(&s->out, &s->call->answer_size);
    }
    finish(s, s->err, &s->text);
}

static void save(struct snapshots *s) {
    struct agent *agent = s->agent;
    struct group_status status;
    struct err_text text = {"too many snapshots are under way"};
    group_get_status(agent->group, &status);
    s->view = catalog_view(agent->catalog);
    s->pin = epoch_pin(agent->epoch);
    if (s->pin < 0) {
        finish(s, ERR_OVERLOADED, &text);
        return;
    }
    s->term = status.last_term;
    s->call->snapshot.index = view_applied(s->view);
    s->call->snapshot.contact_ms = status.contact_ms > 0 ? status.contact_ms : 0;
    s->task.run = saved;
    start_thread(s, write_archive);
}

static void may_save(struct group_read *read, enum err err) {
    struct snapshots *s = CONTAINER_OF(read, struct snapshots, read);
    struct err_text text = {""};
    if (err != ERR_OK) {
        err_set(&text, err, "%s", err == ERR_NO_LEADER ? "No cluster leader" : err_name(err));
        finish(s, err, &text);
        return;
    }
    save(s);
}

/* ---- restoring ---- */

/* The thread: all of it is judged before anything changes. */
static void *read_archive(void *context) {
    struct snapshots *s = context;
    struct catalog_image *image = NULL;
    s->err = archive_read(s->call->snapshot.data, s->call->snapshot.size, &s->archive, &s->text);
    if (s->err == ERR_OK) {
        struct archive_reader reader = {.archive = &s->archive};
        struct err_text text = {""};
        if (catalog_read_image(archive_read_state, &reader, &image, &text) != ERR_OK) {
            s->err = err_set(&s->text, ERR_REFUSED, "failed to read snapshot file: %.256s", text.s);
        } else if (reader.at != s->archive.state_size) {
            s->err = err_set(&s->text, ERR_REFUSED,
                             "failed to read snapshot file: something follows its end");
        }
    }
    catalog_drop_image(image);
    loop_post(s->agent->loop, &s->task);
    return NULL;
}

static size_t record_bytes(const uint8_t *at) {
    return 4 + ((size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24);
}

/* Whole records, one at least. */
static size_t next_part(const struct snapshots *s) {
    size_t size = 0, left = s->archive.state_size - s->at;
    while (size < left) {
        size_t next = record_bytes(s->archive.state + s->at + size);
        if (size > 0 && size + next > PART_BYTES) {
            break;
        }
        size += next;
    }
    return size;
}

static void propose_part(struct snapshots *s);

/* A part whose outcome is not known may be sent again: the catalog knows a repeat. */
static bool may_repeat(const struct snapshots *s, enum err err) {
    return (err == ERR_TIMEOUT || err == ERR_NO_LEADER || err == ERR_OVERLOADED) &&
           !s->agent->stopping && loop_now_ms(s->agent->loop) < s->give_up_at_ms;
}

static void send_part(struct snapshots *s);

static void repeat_part(struct loop_timer *timer) {
    send_part(CONTAINER_OF(timer, struct snapshots, again));
}

static void part_done(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct snapshots *s = CONTAINER_OF(proposal, struct snapshots, proposal);
    if (may_repeat(s, err)) {
        s->again.run = repeat_part;
        loop_timer_start(s->agent->loop, &s->again, loop_now_ms(s->agent->loop) + REPEAT_MS);
        return;
    }
    if (err == ERR_OK && s->at < s->archive.state_size) {
        propose_part(s);
        return;
    }
    if (err == ERR_OK) {
        log_write(s->agent->log, LOG_INFO, MODULE, "restored snapshot: id=%s bytes=%zu",
                  s->archive.id, s->archive.state_size);
    }
    finish(s, err, text);
}

/* Part 0 is without records, because the end needs a command of its own. */
static void send_part(struct snapshots *s) {
    bool last = s->at == s->archive.state_size;
    struct catalog_command command = {
        .kind = COMMAND_RESTORE,
        .restore = {
            .phase = s->part == 0 ? RESTORE_BEGIN
                     : last       ? RESTORE_END
                                  : RESTORE_RECORDS,
            .id = s->id,
            .part = s->part,
            .records = {.data = s->archive.state + s->from, .size = (uint32_t)(s->at - s->from)}}};
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    s->proposal = (struct group_proposal){.done = part_done};
    s->proposal.data = (uint8_t *)buf_take(&out, &s->proposal.size);
    group_propose(s->agent->group, &s->proposal);
}

static void propose_part(struct snapshots *s) {
    s->part++;
    s->from = s->at;
    s->at += next_part(s);
    s->give_up_at_ms = loop_now_ms(s->agent->loop) + GIVE_UP_MS;
    send_part(s);
}

static void was_read(struct loop_task *task) {
    struct snapshots *s = CONTAINER_OF(task, struct snapshots, task);
    struct uuid id;
    uint8_t random[16];
    if (s->err != ERR_OK) {
        finish(s, s->err, &s->text);
        return;
    }
    crypto_random(random, sizeof random);
    id = uuid_from_random(random);
    uuid_format(&id, s->id);
    s->at = s->from = 0;
    s->part = 0;
    s->give_up_at_ms = loop_now_ms(s->agent->loop) + GIVE_UP_MS;
    send_part(s);
}

/* ---- both ---- */

void snapshots_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                   void *context) {
    struct snapshots *s = agent->snapshots;
    if (s->call != NULL) {
        call->err = err_set(&call->text, ERR_OVERLOADED,
                            "another snapshot is being saved or restored at this agent");
        done(context);
        return;
    }
    s->call = call;
    s->done = done;
    s->context = context;
    s->err = ERR_OK;
    buf_init(&s->out, LIMIT_HTTP_ANSWER_BYTES);
    s->archive = (struct archive){.index = 0};
    buf_init(&s->archive.tar, LIMIT_ARCHIVE_BYTES);
    if (call->kind == BACKEND_RESTORE) {
        s->task.run = was_read;
        start_thread(s, read_archive);
    } else if (call->snapshot.stale) {
        save(s);
    } else {
        s->read = (struct group_read){.done = may_save};
        group_read(agent->group, &s->read, true);
    }
}

void snapshots_start(struct agent *agent) {
    agent->snapshots = mem_calloc(1, sizeof *agent->snapshots);
    agent->snapshots->agent = agent;
}

void snapshots_clear(struct agent *agent) {
    struct snapshots *s = agent->snapshots;
    if (s != NULL) {
        loop_timer_stop(agent->loop, &s->again);
    }
    if (s != NULL && s->threaded) {
        pthread_join(s->thread, NULL);
    }
    free(s);
    agent->snapshots = NULL;
}
