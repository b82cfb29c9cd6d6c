// How canonical answers go out.
#include "dialects/reading.hpp"

#include "wire/json_text.hpp"

#include <utility>

namespace gw::dialects {
namespace {

std::unexpected<failure> unexpected_answer(std::string text)
{
    return std::unexpected(
        failure{.what = code::unavailable, .from = origin::upstream, .text = std::move(text)}
    );
}

constexpr std::string_view unasked_stream = "The upstream answered with an event stream although none was "
                                            "asked for. Try again, or ask for `\"stream\": true`.";

rendering as_events(bool complete)
{
    return {
        .as = complete ? rendering::how::chunked_events : rendering::how::events,
        .content_type = "text/event-stream"
    };
}

} // namespace

result<rendering> render_any(const request& asked, dialect::answer_is kind, std::string_view media_type)
{
    switch (kind) {
    case dialect::answer_is::events:
        if (!asked.stream) {
            return unexpected_answer(std::string(unasked_stream));
        }
        return as_events(false);
    case dialect::answer_is::json:
    case dialect::answer_is::own_json:
        if (asked.stream) {
            return as_events(true);
        }
        return rendering{.as = rendering::how::as_is, .content_type = "application/json"};
    case dialect::answer_is::bytes:
        break;
    }

    const std::string_view type =
        media_type.empty() ? std::string_view{"application/octet-stream"} : media_type;
    if (asked.accepts_binary || !asked.accepts_json) {
        return rendering{.as = rendering::how::as_is, .content_type = std::string(type)};
    }
    rendering wrapped{
        .as = rendering::how::base64_json,
        .content_type = "application/json",
        .before = R"({"base64":")",
        .after = R"(","media_type":)"
    };
    wire::append_json_string(wrapped.after, type);
    wrapped.after += '}';
    return wrapped;
}

result<rendering> render_chat(const request& asked, dialect::answer_is kind, std::string_view media_type)
{
    if (kind == dialect::answer_is::bytes) {
        return unexpected_answer(
            "The upstream answered with " + std::string(media_type) +
            " where a chat completion was due. Check that the model is a chat model."
        );
    }
    return render_any(asked, kind, media_type);
}

} // namespace gw::dialects
