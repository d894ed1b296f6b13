/* Any bytes as packets of a pool that seals, and a packet of a member with bytes of it changed:
 * what opens is what was sealed, once. The first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "net/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keyring *ring(void) {
    static struct keyring *ring;
    if (ring == NULL) {
        static const char *const keys[] = {"MDEyMzQ1Njc4OWFiY2RlZg==",
                                           "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="};
        ring = keyring_create();
        for (int i = 0; i < 2; i++) {
            struct keyring_key key;
            ASSERT(keyring_parse_key(keys[i], &key, NULL) == ERR_OK);
            ASSERT(keyring_install(ring, &key, NULL) == ERR_OK);
        }
    }
    return ring;
}

static struct seal *member(uint8_t id, bool sealed) {
    struct seal_config config = {.pool = "lan",
                                 .self = {{id}},
                                 .boot_epoch = 100,
                                 .keyring = ring(),
                                 .verify_incoming = sealed,
                                 .verify_outgoing = sealed};
    return seal_create(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char message[] = "a message of a member";
    uint8_t packet[LIMIT_SEAL_PACKET_BYTES + 64], whole[LIMIT_SEAL_PACKET_BYTES], *out = NULL;
    size_t bytes = 0, out_size = 0;
    if (size < 1 || size > sizeof packet) {
        return 0;
    }
    bool sealed = (data[0] & 1) != 0;
    struct seal *from = member(1, true), *to = member(2, sealed);
    if ((data[0] & 2) == 0) {
        bytes = size - 1;
        memcpy(packet, data + 1, bytes);
        /* Inputs come to hold whole packets: the fuzzer learns what is compared below. */
        size_t whole_bytes = seal_packet(from, message, sizeof message, whole);
        bool same = bytes == whole_bytes && memcmp(packet, whole, bytes) == 0;
        enum err err = seal_open(to, packet, bytes, &out, &out_size, NULL);
        ASSERT(same ? err == ERR_OK && out_size == sizeof message
                    : err != ERR_OK || (!sealed && out_size == bytes - 1));
    } else {
        bytes = seal_packet(from, message, sizeof message, whole);
        memcpy(packet, whole, bytes);
        for (size_t i = 1; i + 1 < size; i += 2) {
            packet[data[i] % bytes] ^= data[i + 1];
        }
        bool same = memcmp(packet, whole, bytes) == 0;
        enum err err = seal_open(to, packet, bytes, &out, &out_size, NULL);
        ASSERT(same ? err == ERR_OK : err != ERR_OK || !sealed);
        if (same) {
            ASSERT(out_size == sizeof message && memcmp(out, message, out_size) == 0);
            ASSERT(seal_open(to, whole, bytes, &out, &out_size, NULL) != ERR_OK);
        }
    }
    seal_destroy(from);
    seal_destroy(to);
    return 0;
}
