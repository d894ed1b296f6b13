#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/command.h"
#include "base/buf.h"

#define BANNER_BYTES 16384

static void help(FILE *to) {
    fprintf(to, "Usage: cairn agent [options]\n\n  Starts the agent and runs until it is told to "
                "stop.\n\nCommand Options\n\n");
    config_print_flags(to);
}

static void listen_text(const struct config_listen *listen, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < listen->count + listen->path_count && used < size; i++) {
        char ip[ADDR_TEXT_BYTES] = "";
        const char *name = ip;
        if (i < listen->count) {
            addr_format_ip(&listen->v[i], ip);
        } else {
            name = listen->paths[i - listen->count];
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? " " : "", name);
    }
}

/* A line; the label ends where all labels end. */
static void fact(struct buf *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fact(struct buf *out, const char *label, const char *format, ...) {
    char value[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    buf_append_format(out, "%22s: %s\n", label, value);
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

/* Contract 3.8. */
static void banner(struct buf *out, const struct config *config, const struct agent *agent) {
    char http[512], cluster[ADDR_TEXT_BYTES];
    listen_text(&config->http_listen, http, sizeof http);
    addr_format_ip(&config->advertise, cluster);
    buf_append_str(out, "==> Starting cairn agent...\n");
    fact(out, "Version", "'%s'", CAIRN_VERSION);
    fact(out, "Build Date", "'%s'", CAIRN_BUILD_DATE);
    fact(out, "Node ID", "'%s'", agent_node_id(agent));
    fact(out, "Node name", "'%s'", config->node_name);
    fact(out, "Datacenter", "'%s' (Segment: '%s')", config->datacenter,
         config->server ? "<all>" : "");
    fact(out, "Server", "%s (Bootstrap: %s)", truth(config->server), truth(config->bootstrap));
    fact(out, "Client Addr", "[%s] (HTTP: %lld, HTTPS: -1, gRPC: -1, gRPC-TLS: -1, DNS: %lld)",
         http, (long long)config->http_port, (long long)config->dns_port);
    fact(out, "Cluster Addr", "%s (LAN: %lld, WAN: %lld)", cluster,
         (long long)config->serf_lan_port, (long long)config->serf_wan_port);
    fact(out, "Gossip Encryption", "%s", truth(agent_is_encrypted(agent)));
    fact(out, "Auto-Encrypt-TLS", "false");
    fact(out, "ACL Enabled", "false");
    fact(out, "ACL Default Policy", "allow");
    fact(out, "HTTPS TLS", "Verify Incoming: false, Verify Outgoing: false, Min Version: TLSv1_2");
    fact(out, "gRPC TLS", "Verify Incoming: false, Min Version: TLSv1_2");
    fact(out, "Internal RPC TLS",
         "Verify Incoming: false, Verify Outgoing: false (Verify Hostname: false), Min Version: "
         "TLSv1_2");
    buf_append_str(out, "\n==> Log data will now stream in as it occurs:\n\n");
}

/* ---- what surrounds the agent ---- */

static struct log *open_log(const struct config *config, struct err_text *text) {
    struct log *log = log_create(STDOUT_FILENO, config->log.level);
    int facility = 0;
    log_set_json(log, config->log.json);
    log_hold(log);
    if (*config->log.file != '\0') {
        struct log_file_config file = {.path = config->log.file,
                                       .bytes_max = config->log.rotate_bytes,
                                       .age_max_ns = config->log.rotate_ns,
                                       .files_max = config->log.rotate_max_files};
        if (log_add_file(log, &file, text) != ERR_OK) {
            log_destroy(log);
            return NULL;
        }
    }
    if (config->log.syslog && log_parse_facility(config->log.facility, &facility)) {
        log_add_syslog(log, facility);
    }
    return log;
}

static bool write_pid_file(const struct config *config, struct err_text *text) {
    if (*config->pid_file == '\0') {
        return true;
    }
    int fd = open(config->pid_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        err_set_errno(text, errno, "Could not open pid file %.300s", config->pid_file);
        return false;
    }
    dprintf(fd, "%d", (int)getpid());
    close(fd);
    return true;
}

static void log_start(struct log *log, const struct config *config, const struct agent *agent) {
    for (uint32_t i = 0; i < config->warnings.count; i++) {
        log_write(log, LOG_WARN, "agent", "%s", config->warnings.v[i]);
    }
    if (!addr_is_loopback(&config->bind) && !agent_is_encrypted(agent)) {
        log_write(log, LOG_WARN, "agent",
                  "bound to an address that others reach, without encryption");
    }
}

static int run(const struct config *config, const struct config_source *source) {
    struct err_text text = {""};
    struct log *log = open_log(config, &text);
    struct agent *agent = log != NULL ? agent_create(config, source, log, &text) : NULL;
    int code = 1;
    if (agent == NULL || !write_pid_file(config, &text)) {
        fprintf(stderr, "==> %s\n", text.s);
    } else {
        struct buf out;
        buf_init(&out, BANNER_BYTES);
        if (!config->log.json) {
            banner(&out, config, agent);
        }
        log_release(log, out.data, out.count);
        buf_clear(&out);
        log_start(log, config, agent);
        log_write(log, LOG_INFO, "agent", "Consul agent running!");
        code = agent_run(agent);
        if (*config->pid_file != '\0') {
            unlink(config->pid_file);
        }
    }
    bool started = agent != NULL;
    agent_destroy(agent);
    if (started) {
        log_write(log, LOG_INFO, "agent", "Exit code: code=%d", code);
    }
    log_destroy(log);
    return code;
}

/* A reload, or a wish for numbers, that comes before the loop runs waits for it. */
static void keep_signals(void) {
    sigset_t early;
    sigemptyset(&early);
    sigaddset(&early, SIGHUP);
    sigaddset(&early, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &early, NULL);
}

int command_agent(int argc, char **argv) {
    struct arena arena;
    struct config config;
    struct config_source source = {.argc = argc, .argv = argv};
    enum config_outcome outcome = CONFIG_RUN;
    const char *error = NULL;
    int code = 1;
    arena_init(&arena);
    keep_signals();
    enum err err = config_load(&source, &arena, &config, &outcome, &error);
    if (outcome == CONFIG_USAGE) {
        fprintf(stderr, "%s\n\n", error);
        help(stderr);
    } else if (err != ERR_OK) {
        fprintf(stderr, "==> %s\n", error);
    } else if (outcome == CONFIG_HELP) {
        help(stdout);
        code = 0;
    } else {
        code = run(&config, &source);
    }
    arena_clear(&arena);
    return code;
}
