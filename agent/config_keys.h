/* The keys of configuration files and the rules on values; for agent/config.c. */
#ifndef AGENT_CONFIG_KEYS_H
#define AGENT_CONFIG_KEYS_H

#include "agent/config.h"

/* One file's JSON over what is there. ERR_INVALID, ERR_UNKNOWN_KEY with the contract's sentence. */
enum err config_decode(struct config *config, const char *json, size_t size, struct arena *arena,
                       struct err_text *text);
/* Validates the whole and fills in what is derived. */
enum err config_judge(struct config *config, struct arena *arena, struct err_text *text);

#endif
