// A whole answer of an upstream, head and body, through the conversation that reads it: every way ends in
// content or in a verdict, what is shown is clean, what is taken out lies inside the answer. The first byte
// says what was asked for.
#include "adapters/exchange.hpp"

#include "clean.hpp"
#include "executed.hpp"
#include "property.hpp"
#include "scanned.hpp"
#include "wire/field.hpp"
#include "wire/retry.hpp"
#include "wire/sse.hpp"

#include <algorithm>
#include <memory>
#include <string>

using namespace gw;
using namespace gw::adapters;

namespace {

constexpr time_point now{};
constexpr wall_time wall{std::chrono::seconds{1767225600}};

void check_verdict(const action_type& what)
{
    const auto* failed = std::get_if<action::fail>(&what);
    require(failed != nullptr, "it ends in a verdict");
    const verdict& why = failed->why;
    require(why.what != outcome::ok, "a failure is no success");
    require_clean(why.text, 1000);
    require(why.status == 0 || (why.status >= 100 && why.status <= 599), "a status or none");
    require(
        !why.retry_after || (why.retry_after->count() >= 0 && *why.retry_after <= wire::longest_wait),
        "a wait within bounds"
    );
}

void check_media_type(std::string_view type)
{
    require(!type.empty() && wire::valid_value(type), "a media type fit for a head");
}

// JSON that is read whole.
void check_whole(conversation& talk, std::string_view body, std::uint64_t long_string)
{
    const auto document = scan(body, long_string);
    if (!document) {
        return; // dispatch says `unavailable`
    }
    // a document that is too long to be held has its index only
    const std::string_view text = long_string < 100 ? std::string_view{} : body;
    const auto then = talk.step(event::whole{document->index, text}, now, wall);
    const auto* emitted = std::get_if<action::emit>(&then);
    if (emitted == nullptr) {
        check_verdict(then);
        return;
    }
    check_media_type(emitted->head.media_type);
    const auto out = execute(emitted->body, body);
    require(emitted->head.length == emitted->body.length(), "the length is known");
    if (out && emitted->head.kind == answer_kind::json) {
        wire::json_scanner again{{.depth = 1000, .long_string = 1 << 20}};
        require(again.feed(*out) && again.finish().has_value(), "JSON taken out of JSON is JSON");
    }
}

// An event stream: content, or a verdict.
void check_events(conversation& talk, std::string_view body)
{
    bool content = false;
    wire::sse_splitter splitter{4096};
    splitter.push(body);
    while (const auto each = splitter.next()) {
        if (each->is_comment) {
            continue;
        }
        const auto then = talk.step(event::sse{each->name, each->data, each->oversize}, now, wall);
        if (const auto* forward = std::get_if<action::forward>(&then)) {
            content = content || forward->content;
            continue;
        }
        if (std::holds_alternative<action::drop>(then)) {
            continue;
        }
        check_verdict(then);
        const bool broken = std::get<action::fail>(then).why.what == outcome::broken_stream;
        require(!broken || content, "a stream breaks behind its first content");
        return;
    }
    const auto then = talk.step(event::end{}, now, wall);
    if (std::holds_alternative<action::done>(then)) {
        require(content, "without content a stream is no answer");
        return;
    }
    check_verdict(then); // a chat may have stopped before its end
    require(
        content == (std::get<action::fail>(then).why.what == outcome::broken_stream),
        "a stream breaks behind its first content"
    );
}

} // namespace

GW_FUZZ(input)
{
    const unsigned choice = input.empty() ? 0 : static_cast<unsigned char>(input.front());
    input.remove_prefix(std::min<std::size_t>(input.size(), 1));
    wire::response_head head;
    const auto size = wire::scan_response_head(input, wire::response_limits, head);
    if (!size || !*size || head.interim()) {
        return;
    }
    const std::string_view body = input.substr(**size);

    config::upstream up{
        .name = "up", .kind = choice & 1 ? config::kind::serverless : config::kind::dedicated
    };
    up.at.host = choice & 2 ? "a.endpoints.huggingface.cloud" : "a.test";
    answer_plan plan{
        .wanted = static_cast<expects>((choice >> 2) % 3),
        .chat = (choice & 16) != 0,
        .stream = (choice & 32) != 0
    };
    if (choice & 64) {
        plan.pointer = "/data/0/b64_json";
    }
    plan.must_be_json = (choice & 128) != 0;

    for (const std::uint64_t long_string : {1u << 20u, 20u}) {
        const target to{.to = &up};
        const auto talk = make_exchange({}, plan, to);
        require(
            std::holds_alternative<action::send>(talk->step(event::start{}, now, wall)), "it begins by asking"
        );
        const auto then = talk->step(event::head{head}, now, wall);
        const auto* read = std::get_if<action::read>(&then);
        if (read == nullptr) {
            check_verdict(then);
            continue;
        }
        require(head.status >= 200, "an answer");
        switch (read->how) {
        case action::read::as::text:
            require(head.status >= 400, "an error is read as text");
            check_verdict(talk->step(event::text{body.substr(0, 64 * 1024)}, now, wall));
            break;
        case action::read::as::whole:
            check_whole(*talk, body, long_string);
            break;
        case action::read::as::events:
            check_media_type(read->answer.media_type);
            check_events(*talk, body);
            break;
        case action::read::as::raw:
            check_media_type(read->answer.media_type);
            require(
                std::holds_alternative<action::done>(talk->step(event::end{}, now, wall)),
                "its end is the end"
            );
            talk->look(body);
            break;
        }
    }
}
