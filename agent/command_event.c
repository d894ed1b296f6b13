/* `cairn event`: fires a user event (contract 3.3). */
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"

struct fired {
    const char *id;
};

static const struct decode_field fields[] = {DECODE_FIELD(struct fired, id, "ID", DECODE_STR)};
static const struct decode_spec spec_of_fired = {"event", sizeof(struct fired), fields, 1, true};

struct event_flags {
    const char *name, *node, *service, *tag;
};

/* False: the sentence is on stderr. */
static bool judge(const struct event_flags *event, int arg_count) {
    const char *wrong = *event->name == '\0' ? "Event name is required, see -name."
                        : *event->tag != '\0' && *event->service == '\0'
                            ? "Cannot provide tag filter without service filter."
                        : arg_count > 1 ? "Too many command line arguments: the payload is one."
                                        : NULL;
    if (wrong != NULL) {
        fprintf(stderr, "%s\n", wrong);
    }
    return wrong == NULL;
}

static int fire(const struct command_line *line, const struct event_flags *event,
                struct arena *arena) {
    struct client *client = client_create(&line->options);
    const char *const filters[][2] = {
        {"node", event->node}, {"service", event->service}, {"tag", event->tag}};
    struct client_query queries[3];
    struct err_text text = {""};
    struct fired fired = {""};
    struct buf body;
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        if (*filters[i][1] != '\0') {
            queries[count++] = (struct client_query){filters[i][0], filters[i][1]};
        }
    }
    if (client == NULL) {
        return 1;
    }
    const char *path = arena_format(arena, "/v1/event/fire/%s", client_escape(event->name, arena));
    enum err err = client_request(client, "PUT", path, queries, count,
                                  line->arg_count > 0 ? line->args[0] : NULL, &body, &text);
    if (err == ERR_OK) {
        err = decode_json(&spec_of_fired, DECODE_BODY, str_or_empty(body.data), body.count, arena,
                          &fired, &text);
    }
    buf_clear(&body);
    client_destroy(client);
    if (err != ERR_OK) {
        fprintf(stderr, "Error firing event: %s\n", text.s);
        return 1;
    }
    printf("Event ID: %s\n", fired.id);
    return 0;
}

int command_event(int argc, char **argv) {
    struct event_flags event = {"", "", "", ""};
    const struct command_flag flags[] = {
        {"name", COMMAND_FLAG_STR, &event.name, "Of the event."},
        {"node", COMMAND_FLAG_STR, &event.node, "Pattern of nodes whose agents keep it."},
        {"service", COMMAND_FLAG_STR, &event.service, "Pattern of services; their agents keep it."},
        {"tag", COMMAND_FLAG_STR, &event.tag, "Pattern of a tag of these services."}};
    const struct command_spec spec = {"event -name=NAME [options] [PAYLOAD]",
                                      "  Tells an event to all agents of the datacenter.", flags,
                                      sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        code = judge(&event, line.arg_count) ? fire(&line, &event, &arena) : 1;
    }
    arena_clear(&arena);
    return code;
}
