// JSON strings to text and back (RFC 8259 section 7). Pure functions; never throw for any input but want of
// memory.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gw::wire {

// The text of what stands between the quotes of a JSON string. Lone surrogate escapes become U+FFFD.
//   returns  nullopt if it is not such a string: a bad escape, a bare quote or control byte, bytes that are
//   not UTF-8
[[nodiscard]] std::optional<std::string> unescape_json_string(std::string_view inside_quotes);

// Appends text between quotes. Escapes what JSON demands and what disturbs logs and terminals: control
// characters, DEL, U+0085, U+2028, U+2029; bytes that are not UTF-8 become \ufffd. The result is one line of
// valid UTF-8.
void append_json_string(std::string& out, std::string_view text);

// Appends JSON as one line that every reader of event streams takes for one.
void append_json_line(std::string& out, std::string_view json);

} // namespace gw::wire
