/* What only a mesh and what only access control has. Neither is there, and each endpoint says so in
 * the words that clients know (contract 19, 20; http-kv-acl 5.1). */
#include "http/handlers.h"

/* Clients that look for mesh instances beside plain ones ask for both and go on. */
void handle_mesh_list(const struct http_request *req, struct http_read *read,
                      struct http_response *res) {
    struct json json;
    read->index = view_index_service(read->view, req->rest);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    json_array_end(&json);
    http_response_json_end(res, req);
}

void handle_mesh_off(const struct http_request *req, struct http_response *res) {
    (void)req;
    http_response_text(res, 500, "Connect must be enabled in order to use this endpoint");
}

void handle_acl_off(const struct http_request *req, struct http_response *res) {
    (void)req;
    http_response_text(res, 401, "ACL support disabled");
}
