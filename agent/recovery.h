/* Recovery by hand (contract 3.1: raft/peers.json): most servers of the group are lost for good,
 * and the rest goes on with the servers that an operator names, whatever the log says.
 *
 * [{"id": "<node id>", "address": "10.0.0.1:8300", "non_voter": false}, ...], the same file on each
 * server of the list. Only servers that have been in the group can be named, because a server's id
 * has a part that is its disk's; new ones join by themselves later. Servers find each other through
 * the pool, so addresses are for people.
 *
 * The log is left as it is: no entry is added, so logs that differ at their ends still mean what
 * they say, and the server whose log is furthest along leads. The configuration is noted beside it
 * (store/recovery.h) together with a term above all those of before: only configurations of entries
 * from that term on count. The first change of the group's members writes one. The terms of all
 * servers that recover meet at the same number: they are raised to a multiple of 2^20. */
#ifndef AGENT_RECOVERY_H
#define AGENT_RECOVERY_H

#include "agent/storage.h"
#include "store/hard_state.h"

/* Before the log is read: takes an earlier recovery's configuration into account, and removes its
 * note once a snapshot says the same. */
enum err recovery_load(const char *raft_dir, const struct uuid *cluster,
                       struct storage_start *start, struct err_text *text);

/* Once the log is read: takes peers.json, if it is there, and removes it. ERR_INVALID and one
 * sentence when it makes no sense; nothing is changed then. */
enum err recovery_take_file(const char *raft_dir, const struct uuid *cluster,
                            const struct uuid *disk, struct store_hard_state *hard_state,
                            struct storage_start *start, struct err_text *text);

#endif
