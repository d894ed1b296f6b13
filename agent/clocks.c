#include "agent/clocks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"

#define MODULE "agent.server"
#define RETRY_MS 1000  /* of a command that was refused */
#define SLACK_PARTS 20 /* a session may live 1/20 of its TTL longer */
#define BINS (LIMIT_TOMBSTONE_MS / LIMIT_TOMBSTONE_BIN_MS + 2)

/* One session with a TTL. While its end is on its way through the log it stays, so that a renewal
 * cannot be promised any more. */
struct session_clock {
    struct loop_timer timer; /* first */
    struct session_clock *next;
    struct clocks *clocks;
    struct group_proposal proposal;
    int64_t ttl_ms;
    bool ending; /* proposed */
    bool gone;   /* out of the table: freed when the proposal comes back */
    char id[];
};

struct delay_clock {
    struct loop_timer timer; /* first */
    struct delay_clock *next, *previous;
    struct clocks *clocks;
    uint64_t index;
    bool due;
    char key[];
};

struct delay_end {
    struct group_proposal proposal; /* first */
    struct clocks *clocks;
};

struct clocks {
    struct clocks_config config;
    bool leader;
    struct session_clock **buckets; /* by id */
    size_t bucket_count;            /* a power of two */
    _Atomic size_t active;
    struct delay_clock *delays;
    size_t due_count;
    struct loop_task due_task; /* gathers all that are due in one turn */
    bool due_posted;
    struct loop_timer retry_timer;

    struct loop_timer bin_timer;
    struct bin {
        int64_t at_ms;
        uint64_t index; /* of the newest tombstone at that time */
    } bins[BINS];
    unsigned bin_first, bin_count;
    uint64_t reap_to; /* up to here they have had their time */
    bool reaping;
    struct group_proposal reap;
};

static void propose(struct clocks *clocks, struct group_proposal *proposal,
                    const struct catalog_command *command,
                    void (*done)(struct group_proposal *proposal, enum err err,
                                 const struct err_text *text)) {
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    *proposal = (struct group_proposal){.done = done, .timing = proposal->timing};
    proposal->data = (uint8_t *)buf_take(&out, &proposal->size);
    group_propose(clocks->config.group, proposal);
    /* Never passed on to the next leader: its clocks have begun anew, and what was renewed there is
     * not to end by the time of this one. */
    if (!MUTANT(expiry_passed_on)) {
        proposal->hold_until_ms = 0;
    }
}

/* ---- sessions ---- */

static struct session_clock **find(struct clocks *clocks, const char *id) {
    uint64_t hash = hash_bytes(0, id, strlen(id));
    struct session_clock **at = &clocks->buckets[hash & (clocks->bucket_count - 1)];
    while (*at != NULL && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void grow(struct clocks *clocks) {
    struct session_clock **old = clocks->buckets;
    size_t count = clocks->bucket_count;
    clocks->bucket_count *= 2;
    clocks->buckets = mem_calloc(clocks->bucket_count, sizeof *clocks->buckets);
    for (size_t i = 0; i < count; i++) {
        while (old[i] != NULL) {
            struct session_clock *clock = old[i];
            old[i] = clock->next;
            struct session_clock **at = find(clocks, clock->id);
            clock->next = *at;
            *at = clock;
        }
    }
    free(old);
}

/* By the clock itself: the turn may have begun long before what is promised now was asked for. */
static int64_t now_ms(const struct clocks *clocks) {
    return MUTANT(wound_by_turn) ? loop_now_ms(clocks->config.loop) : clock_monotonic_ms();
}

static void wind(struct session_clock *clock) {
    int64_t slack_ms = clock->ttl_ms / SLACK_PARTS + 1;
    if (MUTANT(ttl_short) || MUTANT(ttl_long)) {
        slack_ms = MUTANT(ttl_long) ? clock->ttl_ms : -clock->ttl_ms / 5;
    }
    loop_timer_start(clock->clocks->config.loop, &clock->timer,
                     now_ms(clock->clocks) + clock->ttl_ms + slack_ms);
}

static void session_end_done(struct group_proposal *proposal, enum err err,
                             const struct err_text *text) {
    struct session_clock *clock = CONTAINER_OF(proposal, struct session_clock, proposal);
    struct clocks *clocks = clock->clocks;
    clock->ending = false;
    if (clock->gone) {
        free(clock);
    } else if (err != ERR_OK && err != ERR_CLOSED) {
        log_write(clocks->config.log, LOG_ERROR, MODULE,
                  "failed to end an expired session: session=%s error=\"%s\"", clock->id, text->s);
        loop_timer_start(clocks->config.loop, &clock->timer,
                         loop_now_ms(clocks->config.loop) + RETRY_MS);
    }
}

static void expired(struct loop_timer *timer) {
    struct session_clock *clock = (struct session_clock *)timer;
    struct catalog_command command = {.kind = COMMAND_SESSION_END, .session_id = clock->id};
    log_write(clock->clocks->config.log, LOG_DEBUG, MODULE, "Session TTL expired: session=%s",
              clock->id);
    clock->ending = true;
    clock->proposal.timing = clock->clocks->config.expiry;
    propose(clock->clocks, &clock->proposal, &command, session_end_done);
}

static void drop(struct clocks *clocks, struct session_clock **at) {
    struct session_clock *clock = *at;
    *at = clock->next;
    atomic_fetch_sub(&clocks->active, 1);
    loop_timer_stop(clocks->config.loop, &clock->timer);
    if (clock->ending) {
        clock->gone = true;
    } else {
        free(clock);
    }
}

static void add(struct clocks *clocks, const char *id, int64_t ttl_ms) {
    struct session_clock **at = find(clocks, id);
    if (ttl_ms <= 0 || *at != NULL) {
        return;
    }
    if (atomic_load(&clocks->active) >= clocks->bucket_count) {
        grow(clocks);
        at = find(clocks, id);
    }
    size_t size = strlen(id) + 1;
    struct session_clock *clock = mem_calloc(1, sizeof *clock + size);
    memcpy(clock->id, id, size);
    clock->clocks = clocks;
    clock->ttl_ms = ttl_ms;
    clock->timer.run = expired;
    *at = clock;
    atomic_fetch_add(&clocks->active, 1);
    wind(clock);
}

enum err clocks_renew(struct clocks *clocks, const char *session) {
    const struct catalog_session *row =
        view_get_session(catalog_view(clocks->config.catalog), session);
    /* Without a lease there may be another leader already, whose clock a renewal here does not
     * wind; with one, a later leader begins its clocks later. */
    if (!clocks->leader ||
        (!group_may_read(clocks->config.group, false) && !MUTANT(renewal_without_lease))) {
        return ERR_NO_LEADER;
    }
    struct session_clock *clock = row != NULL ? *find(clocks, row->id) : NULL;
    if (row == NULL || (clock != NULL && clock->ending)) {
        return ERR_NOT_FOUND;
    }
    if (clock != NULL && !MUTANT(renewal_forgotten)) {
        wind(clock);
    }
    return ERR_OK;
}

size_t clocks_active(const struct clocks *clocks) {
    return atomic_load(&clocks->active);
}

/* ---- delays of locks ---- */

static void drop_delay(struct clocks *clocks, struct delay_clock *delay) {
    if (delay->previous != NULL) {
        delay->previous->next = delay->next;
    } else {
        clocks->delays = delay->next;
    }
    if (delay->next != NULL) {
        delay->next->previous = delay->previous;
    }
    clocks->due_count -= delay->due;
    loop_timer_stop(clocks->config.loop, &delay->timer);
    free(delay);
}

static void delay_end_done(struct group_proposal *proposal, enum err err,
                           const struct err_text *text) {
    struct delay_end *end = (struct delay_end *)proposal;
    struct clocks *clocks = end->clocks;
    free(end);
    if (err != ERR_OK && err != ERR_CLOSED) {
        log_write(clocks->config.log, LOG_ERROR, MODULE, "failed to end lock delays: error=\"%s\"",
                  text->s);
        loop_timer_start(clocks->config.loop, &clocks->retry_timer,
                         loop_now_ms(clocks->config.loop) + RETRY_MS);
    }
}

/* One command for all that are due. */
static void end_due(struct loop_task *task) {
    struct clocks *clocks = CONTAINER_OF(task, struct clocks, due_task);
    clocks->due_posted = false;
    if (clocks->due_count == 0 || !clocks->leader) {
        return;
    }
    struct catalog_lock_delay *all = mem_alloc(clocks->due_count * sizeof *all);
    uint32_t count = 0;
    for (struct delay_clock *delay = clocks->delays; delay != NULL; delay = delay->next) {
        if (delay->due) {
            all[count++] = (struct catalog_lock_delay){.key = delay->key, .index = delay->index};
        }
    }
    struct catalog_command command = {.kind = COMMAND_LOCK_DELAY_END,
                                      .lock_delay_end = {all, count}};
    struct delay_end *end = mem_calloc(1, sizeof *end);
    end->clocks = clocks;
    propose(clocks, &end->proposal, &command, delay_end_done);
    free(all);
    for (struct delay_clock *delay = clocks->delays; delay != NULL;) {
        struct delay_clock *next = delay->next;
        if (delay->due) {
            drop_delay(clocks, delay);
        }
        delay = next;
    }
}

static void delay_over(struct loop_timer *timer) {
    struct delay_clock *delay = (struct delay_clock *)timer;
    struct clocks *clocks = delay->clocks;
    clocks->due_count += !delay->due;
    delay->due = true;
    if (!clocks->due_posted) {
        clocks->due_posted = true;
        loop_post(clocks->config.loop, &clocks->due_task);
    }
}

static void add_delay(struct clocks *clocks, const char *key, uint64_t index, int64_t ms) {
    size_t size = strlen(key) + 1;
    struct delay_clock *delay = mem_calloc(1, sizeof *delay + size);
    memcpy(delay->key, key, size);
    delay->clocks = clocks;
    delay->index = index;
    delay->timer.run = delay_over;
    delay->next = clocks->delays;
    if (clocks->delays != NULL) {
        clocks->delays->previous = delay;
    }
    clocks->delays = delay;
    loop_timer_start(clocks->config.loop, &delay->timer, now_ms(clocks) + ms + 1);
}

/* ---- tombstones ---- */

static void reap_more(struct clocks *clocks);

static void reap_done(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct clocks *clocks = CONTAINER_OF(proposal, struct clocks, reap);
    (void)text;
    clocks->reaping = false;
    if (err == ERR_OK) {
        reap_more(clocks); /* else with the next bin */
    }
}

static void reap_more(struct clocks *clocks) {
    const struct catalog_view *view = catalog_view(clocks->config.catalog);
    bool too_many = view_count_tombstones(view) > LIMIT_TOMBSTONES;
    if (!clocks->leader || clocks->reaping) {
        return;
    }
    uint64_t index = view_find_tombstones(view, LIMIT_TOMBSTONES_PER_REAP,
                                          too_many ? UINT64_MAX : clocks->reap_to);
    if (index == 0) {
        return;
    }
    struct catalog_command command = {.kind = COMMAND_REAP, .reap_index = index};
    clocks->reaping = true;
    propose(clocks, &clocks->reap, &command, reap_done);
}

static void add_bin(struct clocks *clocks) {
    uint64_t index = view_index_tombstones(catalog_view(clocks->config.catalog));
    struct bin bin = {loop_now_ms(clocks->config.loop), index};
    ASSERT(clocks->bin_count < BINS);
    clocks->bins[(clocks->bin_first + clocks->bin_count++) % BINS] = bin;
    loop_timer_start(clocks->config.loop, &clocks->bin_timer, bin.at_ms + LIMIT_TOMBSTONE_BIN_MS);
}

static void on_bin(struct loop_timer *timer) {
    struct clocks *clocks = CONTAINER_OF(timer, struct clocks, bin_timer);
    int64_t now_ms = loop_now_ms(clocks->config.loop);
    while (clocks->bin_count > 0 &&
           clocks->bins[clocks->bin_first].at_ms + LIMIT_TOMBSTONE_MS <= now_ms) {
        clocks->reap_to = clocks->bins[clocks->bin_first].index;
        clocks->bin_first = (clocks->bin_first + 1) % BINS;
        clocks->bin_count--;
    }
    add_bin(clocks);
    reap_more(clocks);
}

/* ---- leadership and views ---- */

static bool start_delay(const struct catalog_lock_delay *delay, void *context) {
    add_delay(context, delay->key, delay->index, delay->delay_ms);
    return true;
}

/* Which of the delays that failed to end are left is in the catalog: all begin anew. */
static void retry_delays(struct loop_timer *timer) {
    struct clocks *clocks = CONTAINER_OF(timer, struct clocks, retry_timer);
    while (clocks->delays != NULL) {
        drop_delay(clocks, clocks->delays);
    }
    view_walk_lock_delays(catalog_view(clocks->config.catalog), start_delay, clocks);
}

static bool start_session(const struct catalog_session *session, void *context) {
    add(context, session->id, (session->ttl_ns + 999999) / 1000000);
    return true;
}

static void stop_all(struct clocks *clocks) {
    for (size_t i = 0; i < clocks->bucket_count; i++) {
        while (clocks->buckets[i] != NULL) {
            drop(clocks, &clocks->buckets[i]);
        }
    }
    while (clocks->delays != NULL) {
        drop_delay(clocks, clocks->delays);
    }
    loop_timer_stop(clocks->config.loop, &clocks->bin_timer);
    loop_timer_stop(clocks->config.loop, &clocks->retry_timer);
    clocks->bin_count = 0;
    clocks->reap_to = 0;
}

static void ignore(const struct catalog_event *event, void *context) {
    (void)event;
    (void)context;
}

void clocks_lead(struct clocks *clocks, bool leader) {
    const struct catalog_view *view = catalog_view(clocks->config.catalog);
    if (!MUTANT(clocks_kept)) {
        stop_all(clocks);
    }
    clocks->leader = leader;
    catalog_take_events(clocks->config.catalog, ignore,
                        NULL); /* the view shows what came of them */
    if (leader) {
        view_walk_sessions(view, start_session, clocks);
        view_walk_lock_delays(view, start_delay, clocks);
        add_bin(clocks);
    }
}

static void follow(const struct catalog_event *event, void *context) {
    struct clocks *clocks = context;
    if (!clocks->leader) {
        return;
    }
    switch (event->kind) {
    case CATALOG_SESSION_MADE:
        add(clocks, event->name, event->ms);
        break;
    case CATALOG_SESSION_ENDED: {
        struct session_clock **at = find(clocks, event->name);
        if (*at != NULL) {
            drop(clocks, at);
        }
        break;
    }
    case CATALOG_LOCK_DELAYED:
        add_delay(clocks, event->name, event->index, event->ms);
        break;
    }
}

void clocks_published(struct clocks *clocks) {
    catalog_take_events(clocks->config.catalog, follow, clocks);
    if (view_count_tombstones(catalog_view(clocks->config.catalog)) > LIMIT_TOMBSTONES) {
        reap_more(clocks);
    }
}

/* ---- life ---- */

struct clocks *clocks_create(const struct clocks_config *config) {
    struct clocks *clocks = mem_calloc(1, sizeof *clocks);
    clocks->config = *config;
    clocks->bucket_count = 64;
    clocks->buckets = mem_calloc(clocks->bucket_count, sizeof *clocks->buckets);
    clocks->due_task.run = end_due;
    clocks->bin_timer.run = on_bin;
    clocks->retry_timer.run = retry_delays;
    catalog_record_events(config->catalog);
    return clocks;
}

void clocks_destroy(struct clocks *clocks) {
    if (clocks != NULL) {
        stop_all(clocks);
        free(clocks->buckets);
        free(clocks);
    }
}
