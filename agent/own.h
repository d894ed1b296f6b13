/* This agent's own registrations as rows of a catalog, on an agent without -server: what it answers
 * DNS from while no server is there. Core's thread. */
#ifndef AGENT_OWN_H
#define AGENT_OWN_H

struct agent;

/* Makes them what the local state is, and publishes what has changed. */
void own_follow(struct agent *agent);

#endif
