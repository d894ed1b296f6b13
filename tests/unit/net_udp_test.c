/* Datagram sockets: a burst waits in the socket's buffer until it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "net/addr.h"
#include "net/udp.h"

#define BURST                                                                                      \
    4000 /* questions; the kernel counts 768 bytes for each, and it allows 416 KiB unasked */

static void a_burst_waits(void **state) {
    (void)state;
    struct addr addr;
    socklen_t size = sizeof addr;
    char question[40] = {0};
    assert_true(addr_parse("127.0.0.1", 0, &addr));
    int to = addr_bind(&addr, SOCK_DGRAM, false, NULL);
    assert_true(to >= 0);
    int bytes = LIMIT_UDP_BUFFER_BYTES;
    if (setsockopt(to, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
        close(to);
        skip(); /* this user may not have more than the system's bound */
    }
    close(to);
    to = addr_bind(&addr, SOCK_DGRAM, false, NULL);
    udp_widen(to);
    assert_int_equal(getsockname(to, &addr.any, &size), 0);
    int from = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(from, &addr.any, addr_size(&addr)), 0);
    for (int i = 0; i < BURST; i++) {
        assert_int_equal(send(from, question, sizeof question, 0), sizeof question);
    }
    int got = 0;
    while (recv(to, question, sizeof question, MSG_DONTWAIT) == sizeof question) {
        got++;
    }
    assert_int_equal(got, BURST);
    close(from);
    close(to);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_burst_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
