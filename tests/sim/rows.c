#include "tests/sim/rows.h"

#include "base/buf.h"
#include "base/limits.h"

struct catalog_node row_node(const char *name, const char *address) {
    return (struct catalog_node){
        .id = "", .name = name, .address = address, .region = "", .zone = ""};
}

struct catalog_check row_check(const char *node, const char *id, const char *service,
                               const char *status) {
    return (struct catalog_check){.node = node,
                                  .id = id,
                                  .name = id,
                                  .status = status,
                                  .notes = "",
                                  .output = "",
                                  .service_id = service,
                                  .service_name = "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
}

struct catalog_service row_service(const char *name, uint32_t port) {
    return (struct catalog_service){.node = "",
                                    .id = name,
                                    .name = name,
                                    .address = "",
                                    .port = port,
                                    .socket_path = "",
                                    .weight_passing = 1,
                                    .weight_warning = 1,
                                    .kind = "",
                                    .region = "",
                                    .zone = "",
                                    .proxy = "",
                                    .connect = ""};
}

uint8_t *row_encode(const struct catalog_command *command, size_t *ret_size) {
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    return (uint8_t *)buf_take(&out, ret_size);
}
