/* The kinds of checks this program runs. A new kind is one file and one row. */
#include <stddef.h>

#include "checks/internal.h"

static const struct check_runner *const runners[] = {
    &runner_docker, &runner_grpc, &runner_h2ping, &runner_http,
    &runner_script, &runner_tcp,  &runner_ttl,    &runner_udp,
};

const struct check_runner *kinds_find(enum check_kind kind) {
    for (size_t i = 0; i < sizeof runners / sizeof runners[0]; i++) {
        if (runners[i]->kind == kind) {
            return runners[i];
        }
    }
    return NULL;
}

enum err checks_supports(enum check_kind kind, struct err_text *text) {
    if (kinds_find(kind) != NULL) {
        return ERR_OK;
    }
    if (kind == CHECK_NONE) {
        return err_set(text, ERR_UNSUPPORTED, "Check type is not valid");
    }
    if (kind == CHECK_OS_SERVICE) { /* a Windows service */
        return err_set(text, ERR_UNSUPPORTED, "not implemented");
    }
    return err_set(text, ERR_UNSUPPORTED, "Check type \"%s\" is not supported by this version",
                   check_kind_name(kind));
}
