/* What the catalog must be told so that it shows the members of the LAN pool (contract 7.5). Pure:
 * a view and a member go in, a command comes out.
 *
 * Nothing of an agent's own is ever overwritten: a row that is there changes only where it differs,
 * and only if it is still what was compared; else the command fails and the next look judges anew.
 */
#ifndef AGENT_RECONCILE_JUDGE_H
#define AGENT_RECONCILE_JUDGE_H

#include "base/arena.h"
#include "catalog/backend.h"

/* What is told of whether the agent of a node lives. */
struct catalog_check reconcile_agent_check(const char *node, bool alive);

enum reconcile_verdict {
    RECONCILE_SAME,   /* nothing to tell */
    RECONCILE_JOINED, /* the node and its check, passing */
    RECONCILE_MOVED,  /* the node has another address or id, or the name another machine */
    RECONCILE_FAILED, /* its check is critical */
    RECONCILE_LEFT,   /* the node goes */
    RECONCILE_CLASH,  /* the name belongs to another machine that is alive: nothing to tell */
};

/* Ids and names of the members, to find out who is none. */
struct reconcile_members {
    const struct backend_pool *pool;
    const char **ids; /* sorted; "" where there is none */
};
void reconcile_members_init(struct reconcile_members *members, const struct backend_pool *pool,
                            struct arena *arena);

/* *ret_command borrows from all that is given, and is set unless SAME or CLASH. */
enum reconcile_verdict reconcile_judge_member(const struct catalog_view *view,
                                              const struct reconcile_members *members,
                                              const struct backend_member *member,
                                              struct arena *arena,
                                              struct catalog_command *ret_command);

/* The node is an agent's and its agent is no member of any state: it was forgotten. Nodes without
 * the check were registered through the API. */
bool reconcile_is_forgotten(const struct catalog_view *view, const struct catalog_node *node,
                            const struct reconcile_members *members);
/* A member of this id is there, in whatever state. */
bool reconcile_has_member(const struct reconcile_members *members, const char *id);
struct catalog_command reconcile_deregister(const struct catalog_node *node);

#endif
