// Any prefix gives no verdict or the verdict of the whole; Beast reads what is accepted the same way.
#include "wire/response_head.hpp"

#include "property.hpp"
#include "second_opinion.hpp"

using namespace gw;
using namespace gw::wire;

namespace {

constexpr head_limits limits{.max_bytes = 2048, .max_fields = 20};

void check_beast(std::string_view bytes, const response_head& head)
{
    if (head.reason.empty() && bytes.substr(12, 1) != " ") {
        return; // Beast refuses a status line without a reason and its space
    }
    boost::beast::http::response_parser<boost::beast::http::empty_body> parser;
    const opinion theirs = ask_beast(bytes, parser);
    if (theirs == opinion::about_connection) {
        return;
    }
    require(theirs == opinion::accepted, "Beast accepts it");
    require(parser.get().result_int() == static_cast<unsigned>(head.status), "Beast reads the same status");
    if (head.body == framing::chunked || head.body == framing::sized) {
        require(parser.chunked() == (head.body == framing::chunked), "Beast reads the same coding");
    }
    if (head.body == framing::sized) {
        require(
            parser.content_length() && *parser.content_length() == head.content_length,
            "Beast reads the same length"
        );
    }
    require(parser.get()["Content-Type"] == head.content_type, "Beast reads the same type");
}

} // namespace

GW_FUZZ(input)
{
    response_head head;
    const auto whole = scan_response_head(input, limits, head);
    response_head other;
    bool decided = false;
    const std::size_t stride = input.size() / 64 + 1;
    for (std::size_t size = 0; size <= input.size(); size += stride) {
        in_blocks(input.substr(0, size), size, [&](std::string_view prefix) {
            const auto part = scan_response_head(prefix, limits, other);
            if (part && !*part) {
                require(!decided, "a verdict stays");
                return true;
            }
            decided = true;
            require(part.has_value() == whole.has_value(), "a prefix says what the whole says");
            require(
                part ? *part == *whole : part.error().detail == whole.error().detail,
                "a prefix says what the whole says"
            );
            return true;
        });
    }
    if (!whole) {
        require(
            whole.error().from == origin::upstream && whole.error().http_status() == 502,
            "it is the upstream's fault"
        );
        return;
    }
    if (!*whole) {
        return;
    }
    require(head.status >= 100 && head.status <= 599 && head.status != 101, "a status that exists");
    require(
        head.body != framing::until_close || !head.keep_alive,
        "what ends with the connection does not keep it"
    );
    for (const field& each : head.fields) {
        require(valid_name(each.name) && valid_value(each.value), "fields hold what fields may hold");
    }
    check_beast(input.substr(0, **whole), head);
}
