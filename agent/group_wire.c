/* The bytes of the group's own questions between servers. */
#include "agent/group_internal.h"
#include "proto/rpc.pb-c.h"

size_t group_wire_pack_read(bool consistent, uint64_t index, uint8_t out[GROUP_READ_BYTES_MAX]) {
    Pb__RpcReadIndex message = PB__RPC_READ_INDEX__INIT;
    message.consistent = consistent;
    message.index = index;
    return pb__rpc_read_index__pack(&message, out);
}

bool group_wire_unpack_read(const uint8_t *data, size_t size, bool *ret_consistent,
                            uint64_t *ret_index) {
    Pb__RpcReadIndex *message = pb__rpc_read_index__unpack(NULL, size, data);
    if (message == NULL) {
        return false;
    }
    *ret_consistent = message->consistent;
    *ret_index = message->index;
    pb__rpc_read_index__free_unpacked(message, NULL);
    return true;
}
