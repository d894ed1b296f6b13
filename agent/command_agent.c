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

static void listen_text(const struct addr *listen, unsigned count, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < count && used < size; i++) {
        char name[ADDR_TEXT_BYTES];
        addr_format_ip(&listen[i], name);
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? " " : "", name);
    }
}

static void banner(const struct config *config, const struct agent *agent) {
    char http[512], cluster[ADDR_TEXT_BYTES];
    listen_text(config->http_listen, config->http_listen_count, http, sizeof http);
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
    printf("     Gossip Encryption: false\n");
    printf("           ACL Enabled: false\n\n");
    printf("==> Log data will now stream in as it occurs:\n\n");
    fflush(stdout);
}

int command_agent(int argc, char **argv) {
    struct arena arena;
    struct config config;
    struct err_text text = {""};
    enum config_outcome outcome = CONFIG_RUN;
    arena_init(&arena);
    enum err err = config_load(argc, argv, &arena, &config, &outcome, &text);
    if (err != ERR_OK || outcome == CONFIG_HELP) {
        if (err != ERR_OK) {
            fprintf(stderr, "==> %s\n", text.s);
        } else {
            help();
        }
        arena_clear(&arena);
        return err == ERR_OK ? 0 : 1;
    }
    struct log *log = log_create(STDOUT_FILENO, config.level);
    struct agent *agent = agent_create(&config, log, &text);
    int code = 1;
    if (agent == NULL) {
        fprintf(stderr, "==> %s\n", text.s);
    } else {
        banner(&config, agent);
        if (!addr_is_loopback(&config.bind)) {
            log_write(log, LOG_WARN, "agent",
                      "bound to an address that others reach, without encryption");
        }
        log_write(log, LOG_INFO, "agent", "Consul agent running!");
        code = agent_run(agent);
        agent_destroy(agent);
        log_write(log, LOG_INFO, "agent", "Exit code: code=%d", code);
    }
    log_destroy(log);
    arena_clear(&arena);
    return code;
}
