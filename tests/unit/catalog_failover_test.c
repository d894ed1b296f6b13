/* Failover of lookups as text: tests/transcripts/failover/<what>.txt. Datacenters are home, dc2,
 * dc3 and dc4, of which dc2 is the nearest; each has a catalog of its own.
 *
 *   up <dc> <service> [key=value]..., down <dc> <service>, gone <dc> <service>   its one instance
 *   policy <service> <JSON>, no-policy <service>      as at the HTTP API
 *   default on|off <nearest> <ms> [dc]...             of the configuration
 *   cut <dc>, heal <dc>, silent <dc>, hushed <dc>     whether there are rows of it, and young ones;
 *                                                     hushed: silent for little more than is
 * allowed nearest <dc>...                                   by distance from now on ask <service>
 * where a lookup is answered at <ms>                                           time passes; who is
 * away is looked at away                                              who is, and where */
#include "tests/unit/catalog_support.h"

#include "catalog/failover.h"
#include "tests/unit/transcript.h"

#define PATTERN "tests/transcripts/failover/*.txt"
#define PLACES 4
#define WORDS 12

static const char *const names[PLACES] = {"home", "dc2", "dc3", "dc4"};

struct world {
    struct epoch *epoch;
    struct catalog *places[PLACES];
    bool cut[PLACES], silent[PLACES], hushed[PLACES];
    uint64_t index;
    int64_t now_ms;
    struct failover_core *core;
    struct failover_source source;
    struct str_list known;
    const char *noted; /* by the last lookup */
    char noted_name[64], noted_where[64];
    const char *known_names[PLACES];
    struct buf out;
    struct arena arena;
};

static const struct catalog_view *view_of(const struct world *w, size_t place) {
    return catalog_view(w->places[place]);
}

static size_t place_of(const char *name) {
    for (size_t i = 0; i < PLACES; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    fail_msg("there is no %s", name);
    return 0;
}

static bool look(void *context, const char *datacenter, struct failover_place *ret_place) {
    struct world *w = context;
    size_t place = place_of(datacenter);
    *ret_place = (struct failover_place){names[place], view_of(w, place),
                                         w->silent[place]
                                             ? LIMIT_FAILOVER_FRESH_MS + LIMIT_FAILOVER_STAY_MS + 1
                                         : w->hushed[place] ? LIMIT_FAILOVER_FRESH_MS + 1
                                                            : 7};
    return !w->cut[place];
}

static void note(void *context, const char *service, const char *where) {
    struct world *w = context;
    snprintf(w->noted_name, sizeof w->noted_name, "%s", service);
    snprintf(w->noted_where, sizeof w->noted_where, "%s", where);
    w->noted = w->noted_name;
}

static void publish(struct world *w) {
    free((void *)(uintptr_t)atomic_load(&w->source.state));
    atomic_store(&w->source.state, failover_core_state(w->core, &w->known));
}

static void apply(struct world *w, size_t place, const struct catalog_command *command) {
    struct err_text text = {""};
    if (apply_command(w->places[place], ++w->index, command, &text) != ERR_OK) {
        buf_append_format(&w->out, "  %s\n", text.s);
    }
    catalog_publish(w->places[place]);
}

static void set_instance(struct world *w, const char *const *words, size_t count,
                         const char *status) {
    struct str_pair meta[WORDS];
    uint32_t pairs = 0;
    struct catalog_service service = service_row("n", words[2], words[2]);
    struct catalog_check check = check_row("n", words[2], words[2], status);
    for (size_t i = 3; i < count; i++) {
        size_t size = strcspn(words[i], "=");
        meta[pairs++] =
            (struct str_pair){arena_strndup(&w->arena, words[i], size), words[i] + size + 1};
    }
    service.meta = (struct str_map){meta, pairs, true};
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = node_row("n", "10.0.0.1"),
                                              .service = &service,
                                              .checks = &check,
                                              .check_count = 1}};
    apply(w, place_of(words[1]), &command);
}

static void set_policy(struct world *w, const char *service, const char *json) {
    struct catalog_command command = {.kind = COMMAND_FAILOVER};
    struct err_text text = {""};
    command.set_failover.remove = json == NULL;
    command.set_failover.policy.service = service;
    if (json != NULL && failover_parse(service, json, strlen(json), &w->source.defaults, &w->arena,
                                       &command.set_failover.policy, &text) != ERR_OK) {
        buf_append_format(&w->out, "  %s\n", text.s);
        return;
    }
    apply(w, 0, &command);
    const struct catalog_failover *row = view_get_failover(view_of(w, 0), service);
    if (row != NULL) {
        struct json writer;
        buf_append_str(&w->out, "  ");
        json_init(&writer, &w->out, false);
        failover_write(&writer, row);
        buf_append_byte(&w->out, '\n');
    }
}

static bool usable(const struct catalog_view *view, void *context) {
    return failover_is_healthy(view, context, false);
}

static void ask(struct world *w, char *service) {
    w->noted = NULL;
    struct failover_place place =
        failover_find(&w->source, view_of(w, 0), service, usable, service, &w->arena);
    bool found = usable(place.view, service);
    buf_append_format(&w->out, "  %s%s%s\n", found ? "" : "nothing, at ",
                      place.datacenter != NULL ? place.datacenter : "home",
                      w->noted != NULL ? ", noted" : "");
    /* As the driver does: nothing is held down for what home has. */
    if (w->noted != NULL && !failover_is_healthy(view_of(w, 0), service, false)) {
        failover_core_note(w->core, w->noted, w->noted_where, w->now_ms);
        publish(w);
    }
}

static void judge(const char *service, const char *where, void *context,
                  struct failover_judged *ret) {
    struct world *w = context;
    failover_judge(&w->source, view_of(w, 0), service, where, false, &w->arena, ret);
}

static void show_away(struct world *w) {
    const struct failover_state *state = atomic_load(&w->source.state);
    for (uint32_t i = 0; i < state->away.count; i++) {
        buf_append_format(&w->out, "  %s: %s\n", state->away.v[i], state->where.v[i]);
    }
}

static void pass_time(struct world *w, int64_t now_ms) {
    assert_true(now_ms >= w->now_ms);
    w->now_ms = now_ms;
    if (failover_core_step(w->core, now_ms, judge, w)) {
        publish(w);
        buf_append_str(&w->out, "  changed\n");
        show_away(w);
    }
}

static void set_default(struct world *w, char **words, size_t count) {
    static char kept[WORDS][32];
    static const char *list[WORDS];
    w->source.defaults =
        (struct failover_defaults){.enabled = strcmp(words[1], "on") == 0,
                                   .nearest = atoi(words[2]),
                                   .datacenters = {list, (uint32_t)(count - 4)},
                                   .hold_down_ns = (int64_t)atoi(words[3]) * 1000000};
    for (size_t i = 4; i < count; i++) {
        snprintf(kept[i], sizeof kept[i], "%s", words[i]);
        list[i - 4] = kept[i];
    }
}

static void run_line(void *context, const char *line) {
    struct world *w = context;
    char copy[TRANSCRIPT_LINE_BYTES], *words[WORDS];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    bool json = strncmp(line, "policy ", 7) == 0;
    for (char *at = strtok(copy, " "); at != NULL && count < WORDS;
         at = strtok(NULL, json && count == 2 ? "" : " ")) {
        words[count++] = at;
    }
    if (strcmp(words[0], "up") == 0) {
        set_instance(w, (const char *const *)words, count, "passing");
    } else if (strcmp(words[0], "down") == 0) {
        set_instance(w, (const char *const *)words, count, "critical");
    } else if (strcmp(words[0], "gone") == 0) {
        apply(w, place_of(words[1]),
              &(struct catalog_command){.kind = COMMAND_DEREGISTER, .dereg = {"n", words[2], ""}});
    } else if (json) {
        set_policy(w, words[1], words[2]);
    } else if (strcmp(words[0], "no-policy") == 0) {
        set_policy(w, words[1], NULL);
    } else if (strcmp(words[0], "default") == 0) {
        set_default(w, words, count);
    } else if (strcmp(words[0], "cut") == 0 || strcmp(words[0], "heal") == 0) {
        w->cut[place_of(words[1])] = words[0][0] == 'c';
        w->silent[place_of(words[1])] = w->hushed[place_of(words[1])] = false;
    } else if (strcmp(words[0], "silent") == 0) {
        w->silent[place_of(words[1])] = true;
    } else if (strcmp(words[0], "nearest") == 0) {
        for (size_t i = 1; i < count; i++) {
            w->known_names[i - 1] = names[place_of(words[i])];
        }
        w->known = (struct str_list){w->known_names, (uint32_t)(count - 1)};
        publish(w);
    } else if (strcmp(words[0], "hushed") == 0) {
        w->hushed[place_of(words[1])] = true;
    } else if (strcmp(words[0], "ask") == 0) {
        ask(w, words[1]);
    } else if (strcmp(words[0], "at") == 0) {
        pass_time(w, atoll(words[1]));
    } else if (strcmp(words[0], "away") == 0) {
        show_away(w);
    } else {
        fail_msg("not understood: %s", line);
    }
}

static void run_transcript(const char *path) {
    static const char *known[] = {"dc2", "dc3", "dc4"};
    struct world w = {.epoch = epoch_create(),
                      .core = failover_core_create(),
                      .known = {known, 3},
                      .source = {.look = look, .note = note}};
    arena_init(&w.arena);
    for (size_t i = 0; i < PLACES; i++) {
        w.places[i] = catalog_create(w.epoch, NULL);
    }
    w.source.context = &w;
    w.source.defaults = (struct failover_defaults){.enabled = true, .hold_down_ns = 10000000000};
    publish(&w);
    transcript_run(path, &w.out, run_line, &w);
    free((void *)(uintptr_t)atomic_load(&w.source.state));
    failover_core_destroy(w.core);
    for (size_t i = 0; i < PLACES; i++) {
        catalog_destroy(w.places[i]);
    }
    epoch_destroy(w.epoch);
    arena_clear(&w.arena);
}

static void transcripts(void **state) {
    (void)state;
    transcript_run_all(PATTERN, 2, run_transcript);
}

/* Whatever is noted, the list stays bounded and sorted. */
static void never(const char *service, const char *where, void *context,
                  struct failover_judged *ret) {
    (void)service, (void)where, (void)context;
    *ret = (struct failover_judged){.healthy = false};
}

static void the_list_is_bounded(void **state) {
    struct failover_core *core = failover_core_create();
    struct str_list none = {NULL, 0};
    char name[32];
    (void)state;
    for (unsigned i = 0; i < 2 * LIMIT_FAILOVER_AWAY; i++) {
        snprintf(name, sizeof name, "Service-%u", i * 7919 % 100003);
        failover_core_note(core, name, "dc2", i);
    }
    assert_int_equal(failover_core_count(core), LIMIT_FAILOVER_AWAY);
    struct failover_state *shown = failover_core_state(core, &none);
    for (uint32_t i = 1; i < shown->away.count; i++) {
        assert_true(strcmp(shown->away.v[i - 1], shown->away.v[i]) < 0);
    }
    free(shown);
    assert_false(failover_core_step(core, 1000, never, NULL));
    assert_true(failover_core_step(core, 3600 * 1000, never, NULL)); /* nobody has asked since */
    assert_int_equal(failover_core_count(core), 0);
    failover_core_destroy(core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transcripts),
        cmocka_unit_test(the_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
