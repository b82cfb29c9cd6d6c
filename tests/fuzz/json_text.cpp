// What is escaped is one clean line of JSON that reads back as it was; unescaping agrees with simdjson.
#include "wire/json_text.hpp"

#include "property.hpp"

#include <simdjson.h>

#include <algorithm>
#include <string>

using namespace gw;
using namespace gw::wire;

GW_FUZZ(input)
{
    static simdjson::dom::parser parser;

    std::string json;
    append_json_string(json, input);
    const bool clean =
        std::ranges::all_of(json, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
    require(clean && simdjson::validate_utf8(json), "one line of valid UTF-8");
    std::string_view read;
    require(!parser.parse(json).get(read), "simdjson reads it");
    const auto back = unescape_json_string(std::string_view{json}.substr(1, json.size() - 2));
    require(back && *back == read, "we read it as simdjson does");
    if (simdjson::validate_utf8(input)) {
        require(*back == input, "it reads back as it was");
    }

    in_blocks(input, input.size(), [](std::string_view inside) {
        const auto text = unescape_json_string(inside);
        std::string_view theirs;
        const std::string quoted = '"' + std::string{inside} + '"';
        const auto why = parser.parse(quoted).get(theirs);
        if (!why) {
            require(text && *text == theirs, "unescaping agrees with simdjson");
        } else if (text) {
            require(
                why == simdjson::STRING_ERROR && text->find("\ufffd") != std::string::npos,
                "but for lone surrogates"
            );
        }
        return true;
    });
}
