/* The world: members, the network between them, and time. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tests/sim/pool_sim.h"

#define PORT 8301
#define EPOCH 1700000000u
#define INBOX_BYTES (212 * 1024) /* as a socket's buffer */
#define NOBODY UINT32_MAX

void pool_fail(struct pool_world *world, const char *format, ...) {
    if (world->failed) {
        return;
    }
    world->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(world->message, sizeof world->message, format, args);
    va_end(args);
}

uint64_t pool_random(struct pool_world *world, uint64_t bound) {
    return bound == 0 ? 0 : rand_below(&world->rand, bound);
}

bool pool_one_in(struct pool_world *world, uint32_t n) {
    return pool_random(world, n) == 0;
}

/* ---- the queue ---- */

static bool before(const struct pool_event *a, const struct pool_event *b) {
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->serial < b->serial);
}

static void push(struct pool_world *world, struct pool_event *event) {
    event->serial = world->serial++;
    if (world->queue_count == world->queue_capacity) {
        world->queue_capacity = world->queue_capacity * 2 + 64;
        world->queue = mem_realloc(world->queue, world->queue_capacity * sizeof *world->queue);
    }
    uint32_t at = world->queue_count++;
    while (at > 0 && before(event, world->queue[(at - 1) / 4])) {
        world->queue[at] = world->queue[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    world->queue[at] = event;
}

static struct pool_event *pop(struct pool_world *world) {
    struct pool_event *first = world->queue[0];
    struct pool_event *last = world->queue[--world->queue_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = at * 4 + 1;
        uint32_t end = child + 4 < world->queue_count ? child + 4 : world->queue_count;
        uint32_t best = child;
        for (uint32_t i = child + 1; i < end; i++) {
            best = before(world->queue[i], world->queue[best]) ? i : best;
        }
        if (child >= world->queue_count || !before(world->queue[best], last)) {
            break;
        }
        world->queue[at] = world->queue[best];
        at = best;
    }
    if (world->queue_count > 0) {
        world->queue[at] = last;
    }
    return first;
}

static struct pool_event *new_event(uint64_t at_us, enum pool_event_kind kind, uint32_t member,
                                    const void *data, size_t size) {
    struct pool_event *event = mem_alloc(sizeof *event + size);
    *event = (struct pool_event){.at_us = at_us, .kind = kind, .member = member, .size = size};
    if (size > 0) {
        memcpy(event->data, data, size);
    }
    return event;
}

void pool_at(struct pool_world *world, uint64_t at_us,
             void (*script)(struct pool_world *world, uint32_t argument), uint32_t argument) {
    struct pool_event *event = new_event(at_us, POOL_EVENT_SCRIPT, argument, NULL, 0);
    event->script = script;
    push(world, event);
}

/* ---- members ---- */

static uint32_t member_at(const struct pool_world *world, const struct gossip_address *address) {
    uint32_t number =
        (uint32_t)address->ip[13] << 16 | (uint32_t)address->ip[14] << 8 | address->ip[15];
    return address->ip[12] == 10 && number < world->count ? number : NOBODY;
}

void pool_world_init(struct pool_world *world, uint64_t seed, const struct gossip_config *config,
                     uint32_t count) {
    *world = (struct pool_world){.seed = seed, .config = *config, .count = count};
    rand_init(&world->rand, seed);
    gossip_output_init(&world->output);
    world->descriptors = gossip_descriptors_create();
    world->members = mem_calloc(count, sizeof *world->members);
    world->delay_us = 250;
    world->watched = NOBODY;
    for (uint32_t i = 0; i < count; i++) {
        struct pool_member *member = &world->members[i];
        uint8_t random[16];
        rand_bytes(&world->rand, random, sizeof random);
        member->id = uuid_from_random(random);
        snprintf(member->name, sizeof member->name, "node-%u", i);
        member->address = (struct gossip_address){.ip = {[10] = 0xff,
                                                         [11] = 0xff,
                                                         [12] = 10,
                                                         [13] = (uint8_t)(i >> 16),
                                                         [14] = (uint8_t)(i >> 8),
                                                         [15] = (uint8_t)i},
                                                  .port = {PORT >> 8, PORT & 0xff}};
        member->server = i < 3;
        member->life = POOL_DOWN;
        member->healthy = true;
        member->boot_epoch = EPOCH;
        member->deadline_us = UINT64_MAX;
    }
    if (count <= POOL_VIEWS_MAX) {
        world->views = mem_calloc(POOL_VIEWS_MAX, sizeof *world->views);
    }
}

static void empty_inbox(struct pool_member *member) {
    for (uint32_t i = 0; i < member->inbox.count; i++) {
        free(member->inbox.v[i]);
    }
    free(member->inbox.v);
    member->inbox = (struct pool_inbox){0};
}

void pool_world_clear(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        gossip_destroy(world->members[i].gossip);
        empty_inbox(&world->members[i]);
        free(world->members[i].streams);
    }
    for (uint32_t i = 0; i < world->queue_count; i++) {
        free(world->queue[i]);
    }
    gossip_output_clear(&world->output);
    gossip_descriptors_destroy(world->descriptors);
    free(world->queue);
    free(world->members);
    free(world->streams);
    free(world->views);
    free(world->events);
}

struct gossip_info pool_info(struct pool_world *world, uint32_t member, struct str_pair pair[1],
                             char value[16]) {
    const struct pool_member *m = &world->members[member];
    snprintf(value, 16, "%u", m->version);
    pair[0] = (struct str_pair){.key = "version", .value = value};
    return (struct gossip_info){.id = m->id,
                                .name = m->name,
                                .address = m->address,
                                .server = m->server,
                                .protocol_min = GOSSIP_PROTOCOL_MIN,
                                .protocol_max = GOSSIP_PROTOCOL_MAX,
                                .tags = {.v = pair, .count = 1, .present = true}};
}

static void set_timer(struct pool_world *world, uint32_t member, uint64_t deadline_at_ms) {
    struct pool_member *m = &world->members[member];
    uint64_t at = deadline_at_ms == GOSSIP_NEVER ? UINT64_MAX : deadline_at_ms * 1000;
    at = at < world->now_us ? world->now_us : at;
    if (at == m->deadline_us) {
        return;
    }
    m->deadline_us = at;
    m->timer_serial++;
    if (at != UINT64_MAX) {
        struct pool_event *event = new_event(at, POOL_EVENT_TIMER, member, NULL, 0);
        event->timer_serial = m->timer_serial;
        push(world, event);
    }
}

void pool_start(struct pool_world *world, uint32_t member) {
    struct pool_member *m = &world->members[member];
    ASSERT(m->gossip == NULL);
    struct rand rand;
    rand_init(&rand, world->seed * 1000003 + member + ((uint64_t)m->boot_epoch << 32));
    struct str_pair pair[1];
    char value[16];
    struct gossip_info info = pool_info(world, member, pair, value);
    m->boot_epoch++;
    struct err_text text;
    enum err err = gossip_create(&world->config, &info, m->boot_epoch, world->now_us / 1000, &rand,
                                 world->descriptors, &m->gossip, &text);
    ASSERT(err == ERR_OK);
    m->life = POOL_UP;
    m->leave_done = false;
    m->started_at_us = world->now_us;
    m->deadline_us = UINT64_MAX;
    if (world->views != NULL) {
        memset(world->views[member], 0, sizeof world->views[member]);
    }
    struct gossip_event event = {.kind = GOSSIP_EVENT_TIMER};
    pool_step(world, member, &event);
}

void pool_load(struct pool_world *world, uint32_t member, uint32_t other) {
    struct str_pair pair[1];
    char value[16];
    struct gossip_info info = pool_info(world, other, pair, value);
    enum err err =
        gossip_load_member(world->members[member].gossip, &info,
                           (struct gossip_incarnation){world->members[other].boot_epoch, 0});
    ASSERT(err == ERR_OK);
    if (world->views != NULL) {
        world->views[member][other] = (struct pool_view){
            .incarnation = {world->members[other].boot_epoch, 0}, .state = GOSSIP_ALIVE + 1};
    }
}

void pool_start_all(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        pool_start(world, i);
    }
    for (uint32_t i = 0; i < world->count; i++) {
        for (uint32_t k = 0; k < world->count; k++) {
            if (i != k) {
                pool_load(world, i, k);
            }
        }
    }
}

static void end_process(struct pool_world *world, uint32_t member, enum pool_life life) {
    struct pool_member *m = &world->members[member];
    gossip_destroy(m->gossip);
    m->gossip = NULL;
    m->life = life;
    m->down_since_us = world->now_us;
    m->timer_serial++;
    m->deadline_us = UINT64_MAX;
    m->paused_until_us = 0;
    m->stream_count = 0;
    empty_inbox(m);
}

void pool_kill(struct pool_world *world, uint32_t member) {
    end_process(world, member, POOL_DOWN);
}

void pool_cut(struct pool_world *world, uint32_t member, bool cut) {
    world->members[member].cut = cut;
    world->members[member].healthy = false;
    world->members[member].down_since_us = world->now_us;
}

bool pool_is_reachable(const struct pool_world *world, uint32_t member) {
    const struct pool_member *m = &world->members[member];
    return m->life == POOL_UP && !m->cut && !m->deaf && !m->mute;
}

void pool_pause(struct pool_world *world, uint32_t member, uint64_t ms) {
    struct pool_member *m = &world->members[member];
    m->healthy = false;
    m->paused_until_us = world->now_us + ms * 1000;
    push(world, new_event(m->paused_until_us, POOL_EVENT_WAKE, member, NULL, 0));
}

void pool_stick(struct pool_world *world, uint32_t member, uint64_t ms) {
    world->members[member].healthy = false;
    world->members[member].stuck_until_us = world->now_us + ms * 1000;
}

/* ---- the network ---- */

static bool is_linked(const struct pool_world *world, uint32_t from, uint32_t to) {
    const struct pool_member *a = &world->members[from];
    const struct pool_member *b = &world->members[to];
    return !a->cut && !b->cut && !a->mute && !b->deaf &&
           (!world->partitioned || a->side == b->side);
}

static uint64_t travel_us(const struct pool_member *a, const struct pool_member *b) {
    double dx = (double)a->x_us - b->x_us, dy = (double)a->y_us - b->y_us;
    return (uint64_t)sqrt(dx * dx + dy * dy) + a->access_us + b->access_us;
}

static uint64_t delay(struct pool_world *world, uint32_t from, uint32_t to) {
    uint64_t stuck = world->members[from].stuck_until_us > world->members[to].stuck_until_us
                         ? world->members[from].stuck_until_us
                         : world->members[to].stuck_until_us;
    uint64_t us = stuck > world->now_us ? stuck - world->now_us : 0;
    us += travel_us(&world->members[from], &world->members[to]);
    us += world->delay_us + pool_random(world, world->delay_us + 1) +
          world->members[to].slow_ms * UINT64_C(1000);
    if (world->slow_packet_per_1000 > 0 && pool_random(world, 1000) < world->slow_packet_per_1000) {
        us += pool_random(world, 200 * 1000);
    }
    return us;
}

static void send_packet(struct pool_world *world, uint32_t from, const struct gossip_packet *packet,
                        const uint8_t *data) {
    struct pool_member *sender = &world->members[from];
    sender->packets++;
    sender->bytes += packet->size;
    uint32_t to = member_at(world, &packet->to);
    if (to == NOBODY || !is_linked(world, from, to) ||
        (world->loss_per_1000 > 0 && pool_random(world, 1000) < world->loss_per_1000)) {
        return;
    }
    if (world->members[to].life != POOL_UP) {
        if (is_linked(world, to, from)) {
            struct pool_event *event = new_event(world->now_us + delay(world, to, from),
                                                 POOL_EVENT_CLOSED_PORT, from, NULL, 0);
            event->from = to;
            push(world, event);
        }
        return;
    }
    uint32_t copies = 1;
    if (world->duplicate_per_1000 > 0) {
        copies += pool_random(world, 1000) < world->duplicate_per_1000;
    }
    for (uint32_t i = 0; i < copies; i++) {
        struct pool_event *event = new_event(world->now_us + delay(world, from, to),
                                             POOL_EVENT_PACKET, to, data, packet->size);
        event->from = from;
        push(world, event);
    }
}

static void fail_stream(struct pool_world *world, uint32_t stream, uint64_t at_us, bool refused) {
    struct pool_event *event =
        new_event(at_us, POOL_EVENT_STREAM_FAILED, world->streams[stream].opener, NULL, 0);
    event->stream = stream;
    event->refused = refused;
    push(world, event);
}

/* A message to the other end, both ways linked as TCP needs it. Loss only delays. */
static void send_message(struct pool_world *world, uint32_t stream, uint32_t to,
                         const uint8_t *data, size_t size) {
    uint32_t other = to == world->streams[stream].opener ? world->streams[stream].acceptor
                                                         : world->streams[stream].opener;
    uint64_t wait = delay(world, other, to) + size / 100; /* 100 MB/s */
    if (world->loss_per_1000 > 0 && pool_random(world, 1000) < 2 * world->loss_per_1000) {
        wait += 200 * 1000;
    }
    struct pool_event *event =
        new_event(world->now_us + wait, POOL_EVENT_STREAM_MESSAGE, to, data, size);
    event->stream = stream;
    push(world, event);
}

static void open_stream(struct pool_world *world, uint32_t from, const struct gossip_stream *action,
                        const uint8_t *data) {
    if (world->stream_count == world->stream_capacity) {
        world->stream_capacity = world->stream_capacity * 2 + 64;
        world->streams =
            mem_realloc(world->streams, world->stream_capacity * sizeof *world->streams);
    }
    uint32_t stream = world->stream_count++;
    uint32_t to = member_at(world, &action->to);
    world->streams[stream] = (struct pool_stream){
        .opener = from, .acceptor = to, .handle = action->stream, .open = true};
    struct pool_member *m = &world->members[from];
    if (m->stream_count == m->stream_capacity) {
        m->stream_capacity = m->stream_capacity * 2 + 4;
        m->streams = mem_realloc(m->streams, m->stream_capacity * sizeof *m->streams);
    }
    m->streams[m->stream_count++] = stream;
    m->bytes += action->size;
    bool linked = to != NOBODY && is_linked(world, from, to) && is_linked(world, to, from);
    if (!linked) {
        fail_stream(world, stream, world->now_us + action->timeout_ms * UINT64_C(1000), false);
    } else if (world->members[to].life != POOL_UP) {
        fail_stream(world, stream, world->now_us + 2 * delay(world, to, from), true);
    } else {
        fail_stream(world, stream, world->now_us + action->timeout_ms * UINT64_C(1000), false);
        send_message(world, stream, to, data, action->size);
    }
}

/* Own handles have the high bit and are found among those that the member opened. */
static uint32_t find_stream(const struct pool_world *world, uint32_t member, uint64_t handle) {
    if ((handle & GOSSIP_STREAM_OWN) == 0) {
        return (uint32_t)handle;
    }
    const struct pool_member *m = &world->members[member];
    for (uint32_t i = 0; i < m->stream_count; i++) {
        if (world->streams[m->streams[i]].handle == handle) {
            return m->streams[i];
        }
    }
    return NOBODY;
}

static void forget_stream(struct pool_world *world, uint32_t member, uint32_t stream) {
    struct pool_member *m = &world->members[member];
    for (uint32_t i = 0; i < m->stream_count; i++) {
        if (m->streams[i] == stream) {
            m->streams[i] = m->streams[--m->stream_count];
            return;
        }
    }
}

static void act_on_stream(struct pool_world *world, uint32_t member,
                          const struct gossip_stream *action, const uint8_t *data) {
    if (action->action == GOSSIP_STREAM_OPEN) {
        open_stream(world, member, action, data);
        return;
    }
    uint32_t stream = find_stream(world, member, action->stream);
    if (stream == NOBODY || stream >= world->stream_count) {
        return;
    }
    struct pool_stream *s = &world->streams[stream];
    if (action->action == GOSSIP_STREAM_SEND) {
        uint32_t to = member == s->opener ? s->acceptor : s->opener;
        world->members[member].bytes += action->size;
        if (is_linked(world, member, to) && is_linked(world, to, member)) {
            s->answered |= member == s->acceptor;
            send_message(world, stream, to, data, action->size);
        }
    } else if (member == s->opener) {
        s->open = false;
        forget_stream(world, member, stream);
    } else if (!s->answered) {
        fail_stream(world, stream, world->now_us + delay(world, s->acceptor, s->opener), false);
    }
}

/* ---- steps ---- */

static uint32_t subject_of(struct pool_world *world, const struct gossip_change *change) {
    return change->descriptor == NULL ? NOBODY
                                      : member_at(world, &change->descriptor->info.address);
}

static void take_change(struct pool_world *world, uint32_t viewer,
                        const struct gossip_change *change) {
    world->changes++;
    uint32_t subject = subject_of(world, change);
    world->guards += change->kind == GOSSIP_CHANGE_GUARD_ON;
    world->name_clashes += change->kind == GOSSIP_CHANGE_NAME_CLASH;
    world->id_clashes += change->kind == GOSSIP_CHANGE_ID_CLASH;
    world->members[viewer].leave_done |= change->kind == GOSSIP_CHANGE_LEAVE_DONE;
    if (change->kind == GOSSIP_CHANGE_USER_EVENT) {
        check_pool_told(world, viewer, change);
    }
    if (subject == NOBODY) {
        return;
    }
    if (change->kind == GOSSIP_CHANGE_FAILED && world->members[subject].healthy &&
        !world->members[viewer].cut) {
        world->false_deaths++;
        world->unjust_deaths += world->members[viewer].healthy;
    }
    if (change->kind == GOSSIP_CHANGE_SUSPECT && world->members[subject].healthy) {
        world->false_suspicions++;
    }
    if (subject == world->watched && subject != viewer) {
        world->watched_dead += change->kind == GOSSIP_CHANGE_FAILED;
        world->watched_known += change->kind == GOSSIP_CHANGE_JOINED;
        world->watched_all_us = world->now_us;
    }
    check_pool_change(world, viewer, change, subject);
}

void pool_step(struct pool_world *world, uint32_t member, const struct gossip_event *event) {
    struct pool_member *m = &world->members[member];
    struct gossip_output *output = &world->output;
    struct gossip_event copy = *event;
    copy.now_us = (uint16_t)(world->now_us % 1000);
    (void)gossip_step(m->gossip, world->now_us / 1000, &copy, output);
    world->steps++;
    for (uint32_t i = 0; i < output->packet_count; i++) {
        send_packet(world, member, &output->packets[i],
                    (const uint8_t *)output->bytes.data + output->packets[i].offset);
    }
    for (uint32_t i = 0; i < output->stream_count; i++) {
        act_on_stream(world, member, &output->streams[i],
                      (const uint8_t *)output->bytes.data + output->streams[i].offset);
    }
    for (uint32_t i = 0; i < output->change_count; i++) {
        take_change(world, member, &output->changes[i]);
    }
    if (output->store_boot_epoch) {
        m->boot_epoch = output->boot_epoch;
    }
    set_timer(world, member, output->deadline_at_ms);
    if (m->leave_done) {
        end_process(world, member, POOL_LEFT);
    }
}

void pool_join(struct pool_world *world, uint32_t member, uint32_t to) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_JOIN,
                                 .join.address = world->members[to].address};
    pool_step(world, member, &event);
}

/* ---- time ---- */

static void deliver(struct pool_world *world, struct pool_event *event) {
    struct pool_member *m = &world->members[event->member];
    struct gossip_event step = {0};
    if (event->kind == POOL_EVENT_PACKET) {
        step.kind = GOSSIP_EVENT_PACKET;
        step.packet.from = world->members[event->from].address;
        step.packet.data = event->data;
        step.packet.size = event->size;
    } else if (event->kind == POOL_EVENT_CLOSED_PORT) {
        step.kind = GOSSIP_EVENT_CLOSED_PORT;
        step.closed_port.address = world->members[event->from].address;
    } else {
        struct pool_stream *s = &world->streams[event->stream];
        bool opener = event->member == s->opener;
        if (opener && !s->open) {
            return;
        }
        if (event->kind == POOL_EVENT_STREAM_FAILED) {
            s->open = false;
            forget_stream(world, event->member, event->stream);
            step.kind = GOSSIP_EVENT_STREAM_FAILED;
            step.stream_failed.stream = s->handle;
            step.stream_failed.refused = event->refused;
        } else {
            step.kind = GOSSIP_EVENT_STREAM_MESSAGE;
            step.stream_message.stream = opener ? s->handle : event->stream;
            step.stream_message.from = world->members[opener ? s->acceptor : s->opener].address;
            step.stream_message.data = event->data;
            step.stream_message.size = event->size;
        }
    }
    if (m->gossip != NULL) {
        pool_step(world, event->member, &step);
    }
}

/* What comes to a paused process waits in its sockets, as far as they hold it. */
static void keep(struct pool_member *m, struct pool_event *event) {
    struct pool_inbox *inbox = &m->inbox;
    if (event->kind == POOL_EVENT_PACKET && inbox->bytes + event->size + 512 > INBOX_BYTES) {
        free(event);
        return;
    }
    if (inbox->count == inbox->capacity) {
        inbox->capacity = inbox->capacity * 2 + 16;
        inbox->v = mem_realloc(inbox->v, inbox->capacity * sizeof *inbox->v);
    }
    inbox->bytes += event->kind == POOL_EVENT_PACKET ? event->size + 512 : 0;
    inbox->v[inbox->count++] = event;
}

/* Timers first, as an event loop does it: the worst order. */
static void wake(struct pool_world *world, uint32_t member) {
    struct pool_member *m = &world->members[member];
    if (world->now_us < m->paused_until_us || m->gossip == NULL) {
        return;
    }
    struct pool_inbox inbox = m->inbox;
    m->inbox = (struct pool_inbox){0};
    if (m->deadline_us <= world->now_us) {
        struct gossip_event timer = {.kind = GOSSIP_EVENT_TIMER};
        m->deadline_us = UINT64_MAX;
        pool_step(world, member, &timer);
    }
    for (uint32_t i = 0; i < inbox.count; i++) {
        deliver(world, inbox.v[i]);
        free(inbox.v[i]);
    }
    free(inbox.v);
}

static void run_event(struct pool_world *world, struct pool_event *event) {
    struct pool_member *m = &world->members[event->member];
    if (event->kind == POOL_EVENT_SCRIPT) {
        event->script(world, event->member);
    } else if (event->kind == POOL_EVENT_WAKE) {
        wake(world, event->member);
    } else if (m->gossip == NULL) {
        if (event->kind == POOL_EVENT_STREAM_MESSAGE &&
            event->member == world->streams[event->stream].acceptor) {
            fail_stream(world, event->stream, world->now_us, true);
        }
    } else if (event->kind == POOL_EVENT_TIMER) {
        if (event->timer_serial == m->timer_serial && world->now_us >= m->paused_until_us) {
            struct gossip_event timer = {.kind = GOSSIP_EVENT_TIMER};
            m->deadline_us = UINT64_MAX;
            pool_step(world, event->member, &timer);
        }
    } else if (world->now_us < m->paused_until_us) {
        keep(m, event);
        return;
    } else if (world->now_us < m->stuck_until_us) {
        event->at_us = m->stuck_until_us;
        push(world, event);
        return;
    } else {
        deliver(world, event);
    }
    free(event);
}

void pool_run(struct pool_world *world, uint64_t until_us) {
    while (!world->failed && world->queue_count > 0 && world->queue[0]->at_us <= until_us) {
        struct pool_event *event = pop(world);
        world->now_us = event->at_us;
        run_event(world, event);
    }
    world->now_us = until_us > world->now_us ? until_us : world->now_us;
}
