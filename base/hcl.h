/* HCL 1, the language of configuration files, read into JSON text that base/decode understands.
 *
 * Attributes `key = value`, blocks `key { }` and `key "label" { }`, comments `#` `//` and
 * C's, lists with a trailing comma, strings with Go's escapes, `${ }` taken literally, heredocs
 * `<<END` and `<<-END`. A block, or an object given to a key, becomes an object; when the key comes
 * again, a list of all of them. A repeated key of any other value keeps the last one. */
#ifndef BASE_HCL_H
#define BASE_HCL_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends one JSON object to out; at most LIMIT_HCL_DEPTH deep. ERR_INVALID: `At <line>:<column>:
 * <reason>`, both from 1, the column in bytes. ERR_TOO_LARGE: out's cap. The state of out after an
 * error is half an object. */
enum err hcl_to_json(const char *hcl, size_t size, struct buf *out, struct err_text *text);

#endif
