/* What a step hands to the driver. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "gossip/internal.h"

/* Packets, streams and changes of one step; its bytes have one cap. */
#define OUTPUT_BYTES_MAX (4 * (size_t)LIMIT_GOSSIP_STREAM_BYTES)

void gossip_output_init(struct gossip_output *output) {
    *output = (struct gossip_output){.deadline_at_ms = GOSSIP_NEVER};
    buf_init(&output->bytes, OUTPUT_BYTES_MAX);
}

static void release_held(struct gossip_output *output) {
    for (uint32_t i = 0; i < output->held_count; i++) {
        descriptor_release(output->descriptors, output->held[i]);
    }
    output->held_count = 0;
}

void gossip_output_clear(struct gossip_output *output) {
    release_held(output);
    buf_clear(&output->bytes);
    free(output->packets);
    free(output->streams);
    free(output->changes);
    free(output->held);
    gossip_output_init(output);
}

void output_begin(struct gossip *gossip, struct gossip_output *output) {
    release_held(output);
    buf_reset(&output->bytes);
    output->packet_count = 0;
    output->stream_count = 0;
    output->change_count = 0;
    output->deadline_at_ms = GOSSIP_NEVER;
    output->store_boot_epoch = false;
    output->boot_epoch = 0;
    output->descriptors = gossip->descriptors;
    gossip->output = output;
}

/* Room for one more element of `size` bytes. */
static void *grow(void *array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity * 2 + 4;
    return mem_realloc(array, *capacity * size);
}

size_t packet_begin(struct gossip *gossip) {
    size_t start = gossip->output->bytes.count;
    gossip->packet_subject = NO_RECORD;
    write_head(&gossip->output->bytes, gossip->pool_hash);
    return start;
}

size_t packet_room(const struct gossip *gossip, size_t start) {
    size_t used = gossip->output->bytes.count - start;
    return used >= gossip->config.packet_bytes_max ? 0 : gossip->config.packet_bytes_max - used;
}

void packet_end(struct gossip *gossip, size_t start, const struct gossip_address *to) {
    struct gossip_output *output = gossip->output;
    write_rumours(gossip, &output->bytes, start);
    write_events(gossip, &output->bytes, start);
    size_t size = output->bytes.count - start;
    if (output->bytes.failed || size > gossip->config.packet_bytes_max) {
        ASSERT(output->bytes.failed); /* only an absurd number of packets in one step */
        return;
    }
    output->packets = grow(output->packets, output->packet_count, &output->packet_capacity,
                           sizeof *output->packets);
    output->packets[output->packet_count++] =
        (struct gossip_packet){.to = *to, .offset = (uint32_t)start, .size = (uint32_t)size};
    gossip->counters[GOSSIP_PACKETS_SENT]++;
    gossip->counters[GOSSIP_BYTES_SENT] += size;
}

size_t message_begin(struct gossip *gossip) {
    return packet_begin(gossip);
}

static struct gossip_stream *add_stream(struct gossip *gossip, enum gossip_stream_action action,
                                        uint64_t stream) {
    struct gossip_output *output = gossip->output;
    output->streams = grow(output->streams, output->stream_count, &output->stream_capacity,
                           sizeof *output->streams);
    struct gossip_stream *added = &output->streams[output->stream_count++];
    *added = (struct gossip_stream){.action = action, .stream = stream};
    return added;
}

static void set_message(struct gossip *gossip, size_t start, struct gossip_stream *stream) {
    size_t size = gossip->output->bytes.count - start;
    stream->offset = (uint32_t)start;
    stream->size = (uint32_t)size;
    gossip->counters[GOSSIP_STREAM_BYTES_SENT] += size;
}

uint64_t message_open(struct gossip *gossip, size_t start, const struct gossip_address *to) {
    uint64_t handle = GOSSIP_STREAM_OWN | gossip->stream_next++;
    struct gossip_stream *stream = add_stream(gossip, GOSSIP_STREAM_OPEN, handle);
    stream->to = *to;
    stream->timeout_ms = gossip->config.stream_timeout_ms;
    set_message(gossip, start, stream);
    return handle;
}

void message_send(struct gossip *gossip, size_t start, uint64_t stream) {
    set_message(gossip, start, add_stream(gossip, GOSSIP_STREAM_SEND, stream));
}

void stream_close(struct gossip *gossip, uint64_t stream) {
    add_stream(gossip, GOSSIP_STREAM_CLOSE, stream);
}

const struct gossip_descriptor *output_hold(struct gossip *gossip,
                                            const struct gossip_descriptor *descriptor) {
    struct gossip_output *output = gossip->output;
    output->held =
        grow(output->held, output->held_count, &output->held_capacity, sizeof *output->held);
    output->held[output->held_count++] = descriptor_hold(descriptor);
    return descriptor;
}

struct gossip_change *tell(struct gossip *gossip, enum gossip_change_kind kind,
                           const struct gossip_descriptor *descriptor,
                           struct gossip_incarnation incarnation) {
    struct gossip_output *output = gossip->output;
    output->changes = grow(output->changes, output->change_count, &output->change_capacity,
                           sizeof *output->changes);
    struct gossip_change *change = &output->changes[output->change_count++];
    *change = (struct gossip_change){
        .kind = kind,
        .descriptor = descriptor != NULL ? output_hold(gossip, descriptor) : NULL,
        .incarnation = incarnation};
    return change;
}
