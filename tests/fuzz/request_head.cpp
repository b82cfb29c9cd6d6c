// Any prefix gives no verdict or the verdict of the whole; what is accepted can be written down and read
// again; Beast agrees.
#include "wire/request_head.hpp"

#include "property.hpp"
#include "second_opinion.hpp"
#include "wire/target.hpp"

#include <algorithm>
#include <string>

using namespace gw;
using namespace gw::wire;

namespace {

constexpr head_limits limits{.max_bytes = 2048, .max_fields = 20, .max_target = 200};

void check_prefixes(std::string_view input, const result<std::optional<std::size_t>>& whole)
{
    request_head head;
    bool decided = false;
    const std::size_t stride = input.size() / 64 + 1;
    for (std::size_t size = 0; size <= input.size(); size += stride) {
        in_blocks(input.substr(0, size), size, [&](std::string_view prefix) {
            const auto part = scan_request_head(prefix, limits, head);
            if (part && !*part) {
                require(!decided, "a verdict stays");
                return true;
            }
            decided = true;
            require(part.has_value() == whole.has_value(), "a prefix says what the whole says");
            require(
                part ? *part == *whole : part.error().text == whole.error().text,
                "a prefix says what the whole says"
            );
            return true;
        });
    }
}

std::string written(const request_head& head)
{
    std::string out{head.verb_text};
    out.append(" ").append(head.target).append(" HTTP/1.").append(std::to_string(head.minor)).append("\r\n");
    for (const field& each : head.fields) {
        out.append(each.name).append(": ").append(each.value).append("\r\n");
    }
    return out.append("\r\n");
}

void check_beast(std::string_view bytes, const request_head& head)
{
    while (bytes.starts_with("\r\n")) {
        bytes.remove_prefix(2); // Beast does not skip empty lines
    }
    boost::beast::http::request_parser<boost::beast::http::empty_body> parser;
    const opinion theirs = ask_beast(bytes, parser);
    if (theirs == opinion::about_connection) {
        return;
    }
    require(theirs == opinion::accepted, "Beast accepts it");
    require(parser.get().method_string() == head.verb_text, "Beast reads the same method");
    require(parser.get().target() == head.target, "Beast reads the same target");
    require(parser.chunked() == (head.body == framing::chunked), "Beast reads the same coding");
    const auto length = parser.content_length();
    require(length.has_value() == (head.body == framing::sized), "Beast finds a length where we do");
    require(!length || *length == head.content_length, "Beast reads the same length");
    require(
        parser.get().version() == 10u + static_cast<unsigned>(head.minor), "Beast reads the same version"
    );
    require(parser.keep_alive() == head.keep_alive, "Beast keeps the connection where we do");
    require_same_fields(head.fields, parser);
    require(parser.get()["Authorization"] == head.authorization, "Beast reads the same key");
    require(parser.get()["Host"] == head.host, "Beast reads the same host");
}

} // namespace

GW_FUZZ(input)
{
    request_head head;
    const auto whole = scan_request_head(input, limits, head);
    check_prefixes(input, whole);
    if (!whole) {
        require(
            whole.error().close && whole.error().from == origin::client && !whole.error().text.empty(),
            "a refusal explains and closes"
        );
        return;
    }
    if (!*whole) {
        return;
    }
    require(**whole <= limits.max_bytes && head.fields.size() <= limits.max_fields, "within the limits");
    for (const field& each : head.fields) {
        require(valid_name(each.name) && valid_value(each.value), "fields hold what fields may hold");
    }
    check_beast(input.substr(0, **whole), head);

    const std::string again = written(head);
    request_head second;
    const auto size = scan_request_head(again, head_limits{.max_bytes = 1 << 20}, second);
    require(size && *size == again.size(), "what was accepted is accepted when written down");
    require(
        second.verb == head.verb && second.target == head.target && second.body == head.body &&
            second.content_length == head.content_length && second.keep_alive == head.keep_alive &&
            second.minor == head.minor && second.expect_continue == head.expect_continue &&
            std::ranges::equal(
                second.fields,
                head.fields,
                [](const field& a, const field& b) { return a.name == b.name && a.value == b.value; }
            ),
        "and reads the same"
    );
    (void)parse_target(head.target);
}
