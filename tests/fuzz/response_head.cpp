// Any prefix gives no verdict or the verdict of the whole; what is accepted can be written down and read
// again; Beast reads it the same way; an answer to HEAD has no body whatever its fields say.
#include "wire/response_head.hpp"

#include "property.hpp"
#include "second_opinion.hpp"

#include <algorithm>
#include <string>

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
    if (head.body != framing::none) { // Beast goes by the fields where 204 and 304 decide
        require(parser.chunked() == (head.body == framing::chunked), "Beast reads the same coding");
        const auto length = parser.content_length();
        require(length.has_value() == (head.body == framing::sized), "Beast finds a length where we do");
        require(!length || *length == head.content_length, "Beast reads the same length");
    }
    require(
        parser.get().version() == 10u + static_cast<unsigned>(head.minor), "Beast reads the same version"
    );
    require_same_fields(head.fields, parser);
    require(parser.get()["Content-Type"] == head.content_type, "Beast reads the same type");
}

void check_again(const response_head& head)
{
    std::string again = "HTTP/1." + std::to_string(head.minor) + " " + std::to_string(head.status) + " ";
    again.append(head.reason).append("\r\n");
    for (const field& each : head.fields) {
        again.append(each.name).append(": ").append(each.value).append("\r\n");
    }
    again += "\r\n";
    response_head second;
    const auto size = scan_response_head(again, head_limits{.max_bytes = 1 << 20}, second);
    require(size && *size == again.size(), "what was accepted is accepted when written down");
    require(
        second.status == head.status && second.reason == head.reason && second.body == head.body &&
            second.content_length == head.content_length && second.keep_alive == head.keep_alive &&
            std::ranges::equal(
                second.fields,
                head.fields,
                [](const field& a, const field& b) { return a.name == b.name && a.value == b.value; }
            ),
        "and reads the same"
    );
    const auto bodyless = scan_response_head(again, head_limits{.max_bytes = 1 << 20}, second, true);
    require(bodyless && second.body == framing::none, "an answer to HEAD has no body");
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
    check_again(head);
}
