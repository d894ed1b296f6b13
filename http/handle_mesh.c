/* Lists of what only a mesh has. There is none here, so they are empty; clients that look for mesh
 * instances beside plain ones ask for both and go on. */
#include "http/handlers.h"

void handle_mesh_list(const struct http_request *req, struct http_read *read,
                      struct http_response *res) {
    struct json json;
    read->index = view_index_service(read->view, req->rest);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    json_array_end(&json);
    http_response_json_end(res, req);
}
