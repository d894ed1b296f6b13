/* Apart from base/log.h, whose levels share their names with those of <syslog.h>. */
#include <stdbool.h>
#include <syslog.h>

#include "base/str.h"

void log_syslog_open(int facility);
void log_syslog_close(void);
void log_syslog_write(int level, const char *text);
bool log_parse_facility(const char *s, int *ret_facility);

void log_syslog_open(int facility) {
    openlog("consul", LOG_NDELAY, facility);
}

void log_syslog_close(void) {
    closelog();
}

/* level: of enum log_level. */
void log_syslog_write(int level, const char *text) {
    static const int priorities[] = {LOG_DEBUG, LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};
    syslog(priorities[level], "%s", text);
}

bool log_parse_facility(const char *s, int *ret_facility) {
    static const struct {
        const char *name;
        int facility;
    } all[] = {{"KERN", LOG_KERN},     {"USER", LOG_USER},         {"MAIL", LOG_MAIL},
               {"DAEMON", LOG_DAEMON}, {"AUTH", LOG_AUTH},         {"SYSLOG", LOG_SYSLOG},
               {"LPR", LOG_LPR},       {"NEWS", LOG_NEWS},         {"UUCP", LOG_UUCP},
               {"CRON", LOG_CRON},     {"AUTHPRIV", LOG_AUTHPRIV}, {"FTP", LOG_FTP},
               {"LOCAL0", LOG_LOCAL0}, {"LOCAL1", LOG_LOCAL1},     {"LOCAL2", LOG_LOCAL2},
               {"LOCAL3", LOG_LOCAL3}, {"LOCAL4", LOG_LOCAL4},     {"LOCAL5", LOG_LOCAL5},
               {"LOCAL6", LOG_LOCAL6}, {"LOCAL7", LOG_LOCAL7}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (str_equal_fold(s, all[i].name)) {
            *ret_facility = all[i].facility;
            return true;
        }
    }
    return false;
}
