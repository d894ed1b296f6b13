/* What the catalog has of a node, asked of a server: its rows as a small catalog of their own. A
 * question names the digest of the answer before, so one that has not changed costs little. Core's
 * thread, on an agent without -server. */
#ifndef AGENT_NODE_ROWS_H
#define AGENT_NODE_ROWS_H

#include "agent/links.h"
#include "catalog/catalog.h"

#define NODE_ROWS_DIGEST_BYTES 16

struct agent;

/* One question after the other about one node. The caller owns it; it is zero at first. */
struct node_rows {
    const char *node;
    /* rows: the caller's from then on; NULL with ERR_OK: as before. */
    void (*done)(struct node_rows *rows, enum err err, const char *why, struct catalog *answer);
    bool has_digest; /* the caller clears it to be told all of it again */
    bool under_way;
    /* Private. */
    struct agent *agent;
    struct links_request request;
    uint8_t *question;
    uint8_t digest[NODE_ROWS_DIGEST_BYTES];
};

/* Nothing happens while one is under way. */
void node_rows_ask(struct agent *agent, struct node_rows *rows);
/* done does not run any more. */
void node_rows_clear(struct node_rows *rows);

/* ---- nodes that alias checks of this agent follow ---- */

/* What is known of the node, some seconds old; NULL: not known yet. Asked again and again until
 * nobody has looked for minutes; then alias_note_all is called whenever it has changed. */
const struct catalog *node_rows_watched(struct agent *agent, const char *node);
void node_rows_forget_all(struct agent *agent);

#endif
