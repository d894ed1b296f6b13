/* Rot: nothing that the log's mark says to be there goes without a word; and that a log is in
 * repair is forgotten by no restart, until peers have given back what it had lost. */
#include "tests/sim/group/group.h"

void check_opened(struct server *server, const struct store_log_found *found, bool cut_rot) {
    if (!cut_rot && found->last < server->mark_certain) {
        world_fail(server->world, "%c opens its log up to %lu; it held %lu for certain",
                   server->letter, found->last, server->mark_certain);
    }
}

void check_repair_kept(struct server *server, bool needs_repair) {
    if (server->repairing && !needs_repair) {
        world_fail(server->world, "%c has forgotten that its log is in repair", server->letter);
    }
    server->repairing = needs_repair;
}
