/* Address templates (contract 2.3): `{{ GetPrivateIP }}`, `{{ GetInterfaceIP "eth0" }}`, ... */
#ifndef AGENT_CONFIG_TEMPLATE_H
#define AGENT_CONFIG_TEMPLATE_H

#include "base/arena.h"
#include "base/err.h"

/* The text with its templates replaced by addresses, blank-separated; it may become empty. Offered:
 * GetPrivateIP, GetPrivateIPs, GetPublicIP, GetPublicIPs, GetInterfaceIP and GetInterfaceIPs with a
 * pattern (POSIX extended) of the interface's name. ERR_INVALID, ERR_UNSUPPORTED, ERR_IO. */
enum err template_expand(const char *text, struct arena *arena, const char **ret_text,
                         struct err_text *error);

#endif
