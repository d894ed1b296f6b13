/* Watching the files and folders of the configuration (auto_reload_config): a change of one of them
 * leads to a reload, at most one a second. Core's thread. */
#ifndef AGENT_CONFIG_WATCH_H
#define AGENT_CONFIG_WATCH_H

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

struct config_watch;

/* paths, borrowed: as the command line names them. NULL and a sentence on failure. */
struct config_watch *config_watch_start(struct loop *loop, const struct str_list *paths,
                                        void (*changed)(void *context), void *context,
                                        struct err_text *text);
void config_watch_stop(struct config_watch *watch); /* NULL is allowed */

#endif
