#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "http/request.h"

void http_response_header(struct http_response *res, const char *name, const char *value) {
    ASSERT(res->header_count < HTTP_HEADERS_MAX);
    res->headers[res->header_count].name = name;
    res->headers[res->header_count++].value = value;
}

void http_response_text(struct http_response *res, int status, const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_reset(&res->body);
    buf_append_str(&res->body, text);
    res->status = status;
    res->content_type = "text/plain; charset=utf-8";
}

static int status_of(enum err err) {
    switch (err) {
    case ERR_INVALID:
    case ERR_UNKNOWN_KEY:
        return 400;
    case ERR_DENIED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_OVERLOADED:
        return 429;
    default:
        return 500; /* what clients of this API retry on (contract 1.5), ERR_NO_LEADER included */
    }
}

void http_response_error(struct http_response *res, enum err err, const struct err_text *text) {
    const char *sentence = err == ERR_NO_LEADER && text->s[0] == '\0' ? "No cluster leader"
                           : text->s[0] != '\0'                       ? text->s
                                                                      : err_name(err);
    http_response_text(res, status_of(err), "%s", sentence);
    if (err == ERR_OVERLOADED) {
        http_response_header(res, "Retry-After", "1");
    }
}

void http_response_json(struct http_response *res, const struct http_request *req,
                        struct json *json) {
    res->status = 200;
    res->content_type = "application/json";
    buf_reset(&res->body);
    json_init(json, &res->body, req->pretty);
}

void http_response_json_end(struct http_response *res, const struct http_request *req) {
    if (req->new_line) {
        buf_append_byte(&res->body, '\n');
    }
    if (res->body.failed) {
        http_response_text(res, 500, "the answer is larger than this server sends");
    }
}

void http_response_put_meta(struct json *json, const struct http_request *req, uint64_t index) {
    json_member_u64(json, "Index", index);
    json_member_u64(json, "LastContact", 0);
    json_member_bool(json, "KnownLeader", req->backend->has_leader(req->backend->context));
    json_member_str(json, "ConsistencyLevel", "");
    json_member_bool(json, "NotModified", false);
    json_member_u64(json, "Backend", 0);
    json_member_bool(json, "ResultsFilteredByACLs", false);
}

void http_response_absent(struct http_response *res) {
    buf_reset(&res->body);
    res->status = 404;
    res->content_type = NULL;
    res->absent = true;
}

void http_response_mirrored(struct http_response *res, const struct http_request *req,
                            struct http_read *read, int64_t age_ms) {
    read->contact_ms += age_ms;
    http_response_header(res, HTTP_MIRROR_AGE, arena_format(req->arena, "%lld", (long long)age_ms));
}
