#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/command.h"

static void help(void) {
    printf(
        "Usage: cairn agent [options]\n\n  Starts the agent and runs until it is told to stop.\n\n"
        "Command Options\n\n");
    config_print_flags();
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

static void banner(const struct config *config, const struct agent *agent) {
    char http[512], cluster[ADDR_TEXT_BYTES];
    listen_text(&config->http_listen, http, sizeof http);
    addr_format_ip(&config->advertise, cluster);
    printf("==> Starting cairn agent...\n");
    printf("               Version: '%s'\n", CAIRN_VERSION);
    printf("            Build Date: '%s'\n", CAIRN_BUILD_DATE);
    printf("               Node ID: '%s'\n", agent_node_id(agent));
    printf("             Node name: '%s'\n", config->node_name);
    printf("            Datacenter: '%s' (Segment: '<all>')\n", config->datacenter);
    printf("                Server: %s (Bootstrap: %s)\n", config->server ? "true" : "false",
           config->bootstrap ? "true" : "false");
    printf(
        "           Client Addr: [%s] (HTTP: %lld, HTTPS: -1, gRPC: -1, gRPC-TLS: -1, DNS: %lld)\n",
        http, (long long)config->http_port, (long long)config->dns_port);
    printf("          Cluster Addr: %s (LAN: %lld, WAN: %lld)\n", cluster,
           (long long)config->serf_lan_port, (long long)config->serf_wan_port);
    printf("     Gossip Encryption: %s\n", agent_is_encrypted(agent) ? "true" : "false");
    printf("           ACL Enabled: false\n\n");
    printf("==> Log data will now stream in as it occurs:\n\n");
    fflush(stdout);
}

/* ---- what surrounds the agent ---- */

static struct log *open_log(const struct config *config, struct err_text *text) {
    struct log *log = log_create(STDOUT_FILENO, config->log.level);
    int facility = 0;
    log_set_json(log, config->log.json);
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
        if (!config->log.json) {
            banner(config, agent);
        }
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

int command_agent(int argc, char **argv) {
    struct arena arena;
    struct config config;
    struct config_source source = {.argc = argc, .argv = argv};
    enum config_outcome outcome = CONFIG_RUN;
    const char *error = NULL;
    int code = 1;
    arena_init(&arena);
    enum err err = config_load(&source, &arena, &config, &outcome, &error);
    if (err != ERR_OK) {
        fprintf(stderr, "==> %s\n", error);
    } else if (outcome == CONFIG_HELP) {
        help();
        code = 0;
    } else {
        code = run(&config, &source);
    }
    arena_clear(&arena);
    return code;
}
