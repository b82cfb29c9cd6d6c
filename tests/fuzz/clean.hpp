// Text that may be shown to a client, whoever wrote it.
#pragma once

#include "property.hpp"

#include <simdjson.h>

#include <algorithm>
#include <string_view>

namespace gw {

// One line of valid UTF-8 without control characters, at most `limit` bytes, without a Hugging Face token.
inline void require_clean(std::string_view text, std::size_t limit)
{
    require(text.size() <= std::max<std::size_t>(limit, 3), "short text");
    require(simdjson::validate_utf8(text), "text is UTF-8");
    require(
        std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }),
        "text is one line"
    );
    for (const std::string_view bad :
         {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xae", "\xe2\x80\x8b"}) {
        require(!text.contains(bad), "text holds nothing that cannot be seen");
    }
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    for (std::size_t at = text.find("hf_"); at != std::string_view::npos; at = text.find("hf_", at + 1)) {
        const std::string_view rest = text.substr(at + 3);
        const auto end = std::ranges::find_if_not(rest, alphanumeric);
        const bool word =
            at == 0 || (static_cast<unsigned char>(text[at - 1]) < 0x80 && !alphanumeric(text[at - 1]));
        require(!word || end - rest.begin() < 16, "text holds no token");
    }
}

} // namespace gw
