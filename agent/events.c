#include "agent/events.h"

#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/mem.h"
#include "catalog/pattern.h"
#include "http/http.h"
#include "net/crypto.h"
#include "proto/rpc.pb-c.h"

#define MODULE "agent"

struct events {
    struct backend_event *kept[LIMIT_EVENTS_KEPT]; /* oldest first; published ones are immutable */
    uint32_t count;
    struct backend_event *gone[LIMIT_EVENTS_KEPT]; /* of this turn: readers may see them */
    uint32_t gone_count;
    uint64_t version;
    bool changed;
};

/* ---- whom it concerns ---- */

struct concern {
    struct pattern_set *set;
    const struct pattern *service, *tag; /* tag NULL: any */
    bool found;
};

static bool match_service(const struct catalog_service *service, void *context) {
    struct concern *concern = context;
    enum pattern_result result = pattern_find(concern->set, concern->service, service->name);
    if (result != PATTERN_MATCH) {
        return result != PATTERN_LIMIT;
    }
    concern->found = concern->tag == NULL;
    for (uint32_t i = 0; i < service->tags.count && !concern->found; i++) {
        result = pattern_find(concern->set, concern->tag, service->tags.v[i]);
        if (result == PATTERN_LIMIT) {
            return false;
        }
        concern->found = result == PATTERN_MATCH;
    }
    return !concern->found;
}

/* Filters were judged by who fired it; one that cannot be read here fits nobody, and so does one
 * that takes too many steps: an event is heard by all agents at once, on the threads that also
 * hold their elections. */
static bool concerns(const struct agent *agent, const Pb__UserEvent *event) {
    struct arena arena;
    struct err_text reason;
    const struct pattern *node;
    struct concern concern = {.found = true};
    arena_init(&arena);
    concern.set = pattern_set_create(&arena);
    pattern_set_limit(concern.set, LIMIT_EVENT_STEPS);
    if (*event->node_filter != '\0') {
        concern.found =
            pattern_compile(concern.set, event->node_filter, &node, &reason) == ERR_OK &&
            pattern_find(concern.set, node, agent->config->node_name) == PATTERN_MATCH;
    }
    if (concern.found && *event->service_filter != '\0') {
        concern.found = false;
        if (pattern_compile(concern.set, event->service_filter, &concern.service, &reason) ==
                ERR_OK &&
            (*event->tag_filter == '\0' ||
             pattern_compile(concern.set, event->tag_filter, &concern.tag, &reason) == ERR_OK)) {
            local_walk_services(local_next_view(agent->local), match_service, &concern);
        }
    }
    arena_clear(&arena);
    return concern.found;
}

/* ---- keeping ---- */

/* One block with its texts. */
static struct backend_event *make_row(const struct uuid *id, uint64_t ltime,
                                      const Pb__UserEvent *from) {
    const char *const texts[] = {from->name, from->node_filter, from->service_filter,
                                 from->tag_filter};
    const char *copies[4];
    size_t bytes = from->payload.len, sizes[4];
    for (int i = 0; i < 4; i++) {
        sizes[i] = strlen(texts[i]) + 1;
        bytes += sizes[i];
    }
    struct backend_event *row = mem_calloc(1, sizeof *row + bytes);
    char *at = (char *)(row + 1);
    for (int i = 0; i < 4; i++) {
        copies[i] = memcpy(at, texts[i], sizes[i]);
        at += sizes[i];
    }
    *row = (struct backend_event){.ltime = ltime,
                                  .name = copies[0],
                                  .node_filter = copies[1],
                                  .service_filter = copies[2],
                                  .tag_filter = copies[3]};
    if (from->payload.len > 0) {
        row->payload = (struct catalog_bytes){memcpy(at, from->payload.data, from->payload.len),
                                              (uint32_t)from->payload.len};
    }
    uuid_format(id, row->id);
    for (int i = 0; i < 8; i++) {
        row->index = row->index << 8 | (uint8_t)(id->bytes[i] ^ id->bytes[i + 8]);
    }
    return row;
}

static void publish(struct agent *agent) {
    struct events *events = agent->events;
    size_t bytes = events->count * sizeof events->kept[0];
    struct backend_events *block = mem_alloc(sizeof *block + bytes);
    const struct backend_events *old = agent->backend.events;
    block->version = ++events->version;
    block->count = events->count;
    memcpy(block->v, events->kept, bytes);
    agent->backend.events = block;
    epoch_retire(agent->epoch, (void *)(uintptr_t)old);
    while (events->gone_count > 0) {
        epoch_retire(agent->epoch, events->gone[--events->gone_count]);
    }
    epoch_advance(agent->epoch);
}

void events_heard(struct agent *agent, const struct uuid *id, uint64_t ltime, const uint8_t *data,
                  size_t size) {
    struct events *events = agent->events;
    Pb__UserEvent *event = pb__user_event__unpack(NULL, size, data);
    if (event == NULL || *event->name == '\0' || !concerns(agent, event)) {
        pb__user_event__free_unpacked(event, NULL);
        return;
    }
    if (events->count == LIMIT_EVENTS_KEPT) {
        if (events->gone_count == LIMIT_EVENTS_KEPT) {
            publish(agent); /* a storm within one turn */
        }
        events->gone[events->gone_count++] = events->kept[0];
        memmove(events->kept, events->kept + 1, --events->count * sizeof events->kept[0]);
    }
    struct backend_event *row = make_row(id, ltime, event);
    events->kept[events->count++] = row;
    events->changed = true;
    log_write(agent->log, LOG_DEBUG, MODULE, "new event: event_name=%s event_id=%s", row->name,
              row->id);
    pb__user_event__free_unpacked(event, NULL);
}

void events_turn_end(struct agent *agent) {
    if (agent->events->changed) {
        agent->events->changed = false;
        publish(agent);
        watches_mark(agent->watches, WATCH_EVENTS, "");
        http_server_wake(agent->http);
    }
}

/* ---- firing ---- */

static char *writable(const char *text) {
    return (char *)(uintptr_t)text; /* protobuf-c only reads it */
}

void events_fire(struct agent *agent, struct backend_call *call) {
    Pb__UserEvent event = PB__USER_EVENT__INIT;
    uint8_t bytes[LIMIT_GOSSIP_EVENT_BYTES];
    struct uuid id;
    event.name = writable(call->fire.name);
    event.node_filter = writable(call->fire.node);
    event.service_filter = writable(call->fire.service);
    event.tag_filter = writable(call->fire.tag);
    event.payload.data = (uint8_t *)(uintptr_t)call->fire.payload.data;
    event.payload.len = call->fire.payload.size;
    size_t size = pb__user_event__get_packed_size(&event);
    call->err = ERR_TOO_LARGE;
    if (size <= sizeof bytes) {
        (void)pb__user_event__pack(&event, bytes);
        uint8_t random[sizeof id.bytes];
        crypto_random(random, sizeof random);
        id = uuid_from_random(random);
        uuid_format(&id, call->made_id);
        call->err = pool_fire(agent->pools->lan.pool, &id, bytes, size);
    }
    if (call->err != ERR_OK) {
        const char *why = call->err == ERR_OVERLOADED ? "too many events are on their way"
                          : call->err == ERR_CLOSED   ? "this agent is leaving"
                                                      : "too large";
        call->err = call->err == ERR_OVERLOADED ? ERR_OVERLOADED : ERR_REFUSED;
        err_set(&call->text, call->err, "error broadcasting event: %s", why);
    }
}

/* ---- life ---- */

void events_create(struct agent *agent) {
    agent->events = mem_calloc(1, sizeof *agent->events);
}

void events_destroy(struct agent *agent) {
    struct events *events = agent->events;
    for (uint32_t i = 0; i < events->count; i++) {
        free(events->kept[i]);
    }
    while (events->gone_count > 0) {
        free(events->gone[--events->gone_count]);
    }
    free((void *)(uintptr_t)agent->backend.events);
    free(events);
}
