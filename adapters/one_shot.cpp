#include "adapters/one_shot.hpp"

namespace gw::adapters {

result<prepared>
prepare_chat(const request& asked, const target& to, std::string_view model, schema_form form)
{
    auto body = encode_chat(asked, model, form);
    if (!body) {
        return fail(body);
    }
    return prepared{
        .as = body->as,
        .what =
            {
                .path = openai_path(*to.to, "/chat/completions"),
                .content_type = std::move(body->content_type),
                .accept = asked.stream ? "text/event-stream" : "application/json",
                .body = std::move(body->body),
                .expects_stream = asked.stream,
            },
        .answer = {.wanted = expects::json, .chat = true, .stream = asked.stream},
    };
}

} // namespace gw::adapters
