/* The DNS front end alone, over a catalog that is filled by hand: what tests/bench/dns.sh measures
 * when no agent is given. Prints its port, then serves until its standard input ends.
 *
 *   dns_bench_server [instances [threads]] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "dns/server.h"

static void apply(struct catalog *catalog, uint64_t index, const struct catalog_command *command) {
    struct buf buf;
    struct err_text text;
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &buf);
    if (catalog_apply(catalog, index, (const uint8_t *)buf.data, buf.count, &text) != ERR_OK) {
        fprintf(stderr, "%s\n", text.s);
        exit(1);
    }
    buf_clear(&buf);
}

static void add_instance(struct catalog *catalog, unsigned i) {
    char node[32], id[40], address[32], instance[32], service_address[32];
    snprintf(node, sizeof node, "node%u", i);
    snprintf(id, sizeof id, "00000000-0000-0000-0000-%012u", i);
    snprintf(address, sizeof address, "10.0.%u.%u", i / 250, i % 250 + 1);
    snprintf(instance, sizeof instance, "web-%u", i);
    snprintf(service_address, sizeof service_address, "10.1.%u.%u", i / 250, i % 250 + 1);
    struct catalog_service service = {.node = node,
                                      .id = instance,
                                      .name = "web",
                                      .address = service_address,
                                      .port = 8000 + i,
                                      .socket_path = "",
                                      .weight_passing = 1,
                                      .weight_warning = 1,
                                      .kind = "",
                                      .region = "",
                                      .zone = "",
                                      .proxy = "",
                                      .connect = ""};
    struct catalog_check check = {.node = node,
                                  .id = instance,
                                  .name = "web",
                                  .status = "passing",
                                  .notes = "",
                                  .output = "",
                                  .service_id = instance,
                                  .service_name = "web",
                                  .type = "ttl",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = {.id = id, .name = node, .address = address, .region = "", .zone = ""},
                .service = &service,
                .checks = &check,
                .check_count = 1}};
    apply(catalog, i + 1, &command);
}

int main(int argc, char **argv) {
    unsigned instances = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    for (unsigned i = 0; i < instances; i++) {
        add_instance(catalog, i);
    }
    catalog_publish(catalog);
    struct addr listen;
    struct err_text text;
    addr_parse("127.0.0.1", 0, &listen);
    struct dns_server_config config = {.listen = &listen,
                                       .listen_count = 1,
                                       .threads = threads,
                                       .seed = 1,
                                       .answers = dns_config_default(),
                                       .epoch = epoch,
                                       .catalog = catalog};
    config.answers.datacenter = "dc1";
    struct dns_server *server = dns_server_start(&config, NULL, &text);
    if (server == NULL) {
        fprintf(stderr, "%s\n", text.s);
        return 1;
    }
    printf("%u\n", dns_server_port(server, 0));
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    dns_server_stop(server);
    catalog_destroy(catalog);
    epoch_destroy(epoch);
    return 0;
}
