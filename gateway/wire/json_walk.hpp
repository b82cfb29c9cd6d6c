// Finds values inside JSON that the scanner has already passed, as ranges of its text: nothing is parsed
// into memory and nothing is written anew, so what is taken out travels as the bytes it was. Pure; never
// throws and never reads beyond the text, even where it is no JSON after all (then nothing is found).
#pragma once

#include "message/body.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::wire {

// The value at a JSON Pointer; "" is the document's own value, without the white space around it.
//   returns  nullopt if there is none
//   source   RFC 6901
[[nodiscard]] std::optional<byte_range> find_value(std::string_view document, std::string_view pointer);

// A member of an object.
struct member_view
{
    std::string key;        // unescaped
    std::string_view value; // its text
};
// In order; nullopt: no object.
[[nodiscard]] std::optional<std::vector<member_view>> members_of(std::string_view object);

// The value of a member; empty: there is none, or no object.
[[nodiscard]] std::string_view member_of(std::string_view object, std::string_view key);

// The texts of an array's elements, in order; nullopt: no array.
[[nodiscard]] std::optional<std::vector<std::string_view>> elements_of(std::string_view array);

// The text that a JSON string stands for; nullopt: no string.
[[nodiscard]] std::optional<std::string> string_of(std::string_view value);

// A JSON string for a text.
[[nodiscard]] std::string json_string(std::string_view text);

} // namespace gw::wire
