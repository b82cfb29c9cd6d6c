// Request targets: split, judged, decoded (RFC 9112 section 3.2, RFC 3986). Pure. Whatever two readers could
// resolve to different places (dot segments, empty segments, backslashes, encoded controls) is refused rather
// than normalised.
#pragma once

#include "message/failure.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace gw::wire {

struct target
{
    std::string_view path;  // starts with `/` (or is `*`, for OPTIONS); still percent-encoded
    std::string_view query; // behind the `?`, still encoded
    std::string_view
        authority; // of an absolute-form target: must be compared with Host by the caller; else empty
};

// Splits a target of origin form, absolute form (http or https) or `*`.
//   errors   bad_framing (400, client, close): a byte outside visible ASCII, `#`, `\`, a bad percent escape,
//   an encoded
//            control byte (%00 to %1f, %7f), `//`, a segment `.` or `..` however it is encoded, `%2e%2e` or
//            `%5c` anywhere in the path, more than one `%2f` in the path, authority form, a bad authority
[[nodiscard]] result<target> parse_target(std::string_view raw);

// Percent escapes to bytes; `+` stays. Errors: bad_framing for a bad escape.
[[nodiscard]] result<std::string> percent_decode(std::string_view text);
// The same for names and values of a query, where `+` is a space.
[[nodiscard]] result<std::string> percent_decode_query(std::string_view text);

// One path segment (or one query value): everything but A-Z a-z 0-9 - . _ ~ is escaped, `/` included.
[[nodiscard]] std::string percent_encode_segment(std::string_view text);

// Calls f(std::string name, std::string value) for each pair of a query, in order, decoded. `a` is ("a", "");
// empty pairs
// (`&&`) are skipped. Stops at the first bad escape with its failure.
template <class F>
[[nodiscard]] result<void> for_each_query(std::string_view query, F&& f)
{
    while (!query.empty()) {
        const std::size_t end = query.find('&');
        const std::string_view pair = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
        if (pair.empty()) {
            continue;
        }
        const std::size_t equals = pair.find('=');
        result<std::string> name = percent_decode_query(pair.substr(0, equals));
        if (!name) {
            return fail(name);
        }
        result<std::string> value = percent_decode_query(
            equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1)
        );
        if (!value) {
            return fail(value);
        }
        f(std::move(*name), std::move(*value));
    }
    return {};
}

} // namespace gw::wire
