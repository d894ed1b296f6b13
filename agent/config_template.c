#include "agent/config_template.h"

#include <regex.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/interface.h"

#define TEXT_BYTES_MAX 65536

enum source { SOURCE_PRIVATE, SOURCE_PUBLIC, SOURCE_NAMED };

static const struct function {
    const char *name;
    enum source source;
    bool all; /* every address, else the first */
} functions[] = {
    {"GetPrivateIP", SOURCE_PRIVATE, false}, {"GetPrivateIPs", SOURCE_PRIVATE, true},
    {"GetPublicIP", SOURCE_PUBLIC, false},   {"GetPublicIPs", SOURCE_PUBLIC, true},
    {"GetInterfaceIP", SOURCE_NAMED, false}, {"GetInterfaceIPs", SOURCE_NAMED, true},
};

struct choice {
    const struct function *function;
    const regex_t *pattern;
    struct buf *out;
    unsigned count;
};

static bool fits(const struct choice *choice, const struct interface *interface) {
    if (interface->link_local) {
        return false;
    }
    switch (choice->function->source) {
    case SOURCE_PRIVATE:
        return interface->private_address;
    case SOURCE_PUBLIC:
        return !interface->private_address && !addr_is_loopback(&interface->addr);
    case SOURCE_NAMED:
        break;
    }
    return regexec(choice->pattern, interface->name, 0, NULL, 0) == 0;
}

static void choose(const struct interface *interface, void *context) {
    struct choice *choice = context;
    if (fits(choice, interface) && (choice->function->all || choice->count == 0)) {
        char ip[ADDR_TEXT_BYTES];
        addr_format_ip(&interface->addr, ip);
        buf_append_str(choice->out, choice->count++ > 0 ? " " : "");
        buf_append_str(choice->out, ip);
    }
}

static const struct function *find(const char *name) {
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return &functions[i];
        }
    }
    return NULL;
}

static enum err unsupported(const char *action, struct err_text *error) {
    return err_set(error, ERR_UNSUPPORTED,
                   "template {{%.128s}}: this version knows GetPrivateIP, GetPrivateIPs, "
                   "GetPublicIP, GetPublicIPs, and GetInterfaceIP and GetInterfaceIPs with a name",
                   action);
}

/* What stands between {{ and }}. */
static enum err run_action(char *action, struct buf *out, struct err_text *error) {
    char *name = action + strspn(action, " \t-");
    size_t size = strcspn(name, " \t");
    char *rest = name + size + strspn(name + size, " \t");
    size_t rest_size = strlen(rest);
    while (rest_size > 0 && strchr(" \t-", rest[rest_size - 1]) != NULL) {
        rest_size--;
    }
    struct choice choice = {.out = out};
    char whole[256], argument[256] = "";
    memcpy(whole, action, strlen(action) < sizeof whole ? strlen(action) + 1 : sizeof whole);
    whole[sizeof whole - 1] = '\0';
    if (rest_size >= 2 && rest_size < sizeof argument &&
        ((rest[0] == '"' && rest[rest_size - 1] == '"') ||
         (rest[0] == '`' && rest[rest_size - 1] == '`'))) {
        memcpy(argument, rest + 1, rest_size - 2);
        argument[rest_size - 2] = '\0';
    }
    name[size] = '\0';
    choice.function = find(name);
    bool named = choice.function != NULL && choice.function->source == SOURCE_NAMED;
    if (choice.function == NULL || named != (argument[0] != '\0') ||
        (rest_size > 0 && argument[0] == '\0')) {
        return unsupported(whole, error);
    }
    regex_t pattern;
    if (named && regcomp(&pattern, argument, REG_EXTENDED | REG_NOSUB) != 0) {
        return err_set(error, ERR_INVALID, "template {{%.128s}}: not a pattern: %.64s", whole,
                       argument);
    }
    choice.pattern = &pattern;
    enum err err = interface_walk(choose, &choice, error);
    if (named) {
        regfree(&pattern);
    }
    return err;
}

enum err template_expand(const char *text, struct arena *arena, const char **ret_text,
                         struct err_text *error) {
    struct buf out;
    enum err err = ERR_OK;
    buf_init(&out, TEXT_BYTES_MAX);
    while (err == ERR_OK && *text != '\0') {
        const char *open = strstr(text, "{{");
        buf_append(&out, text, open != NULL ? (size_t)(open - text) : strlen(text));
        if (open == NULL) {
            break;
        }
        const char *close = strstr(open, "}}");
        if (close == NULL) {
            err = err_set(error, ERR_INVALID, "template: unclosed action");
        } else {
            err =
                run_action(arena_strndup(arena, open + 2, (size_t)(close - open - 2)), &out, error);
            text = close + 2;
        }
    }
    if (err == ERR_OK && out.failed) {
        err = err_set(error, ERR_TOO_LARGE, "more addresses than fit");
    }
    if (err == ERR_OK) {
        *ret_text = arena_strndup(arena, str_or_empty(out.data), out.count);
    }
    buf_clear(&out);
    return err;
}
