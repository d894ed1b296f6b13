/* IP addresses as bytes, from text. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stdint.h>

/* "10.0.0.1" or "2001:db8::1": *ret_bytes is 4 or 16. False: no IP address; ip may have changed. */
bool ip_parse(const char *text, uint8_t ip[16], uint8_t *ret_bytes);

#endif
