// The gate that every JSON body passes, at any size: grammar (RFC 8259), UTF-8, depth, sizes, duplicate
// top-level keys. Push parser: feed the body block by block as it arrives; memory does not grow with the
// payload. It yields where the top-level members stand and where the very long strings are, so that unchanged
// members travel as the bytes they were and no large payload is ever parsed into memory. Numbers are checked
// for grammar only and never converted. Pure; never throws.
#pragma once

#include "message/body.hpp"
#include "message/failure.hpp"
#include "wire/plain_base64.hpp"

#include <boost/container/small_vector.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gw::wire {

enum class json_kind : std::uint8_t { object, array, string, number, true_, false_, null };
[[nodiscard]] std::string_view to_string(json_kind kind);

struct json_limits
{
    std::size_t depth = 64;           // containers inside each other; the outermost is 1. At most 1000
    std::uint64_t tokens = 1'000'000; // values and keys
    std::size_t members = 10'000;     // of the outermost object
    std::uint64_t long_string =
        64 * 1024; // a string with more bytes between its quotes is "long"; no key may be
    std::uint64_t plain_bytes = 8 * 1024 * 1024; // everything outside long strings
    std::uint64_t long_bytes =
        64ull * 1024 * 1024 / 3 * 4 + 4; // all long strings together, counted without escapes
};

// A member of the outermost object. Offsets count from the body's first byte.
struct json_member
{
    std::string key; // unescaped
    json_kind kind = json_kind::null;
    byte_range where;        // the value's own text, quotes or brackets included
    bool holds_long = false; // a long string is this value or lies inside it
};

struct json_long_string
{
    std::string path; // RFC 6901 pointer, "" for the root; ambiguous where a nested object repeats a key:
                      // `where` is not
    byte_range where; // between the quotes
    std::uint64_t escapes_removed = 0; // unescaped size = where.size() - escapes_removed
    bool escaped = false;              // holds at least one backslash
    std::uint8_t padding = 0;          // trailing `=` after unescaping, at most 3: what base64 sizes need
    std::string head;     // the first bytes (up to 256 of the body's), unescaped: a `data:` prefix shows here
    std::string raw_head; // the same as they were written, to count in; may end inside an escape
    // Where the first character behind the head stands (in the body) that no base64 text has there; nullopt:
    // there is none.
    std::optional<std::uint64_t> not_base64;
};

struct json_index
{
    json_kind root = json_kind::null;
    byte_range where;                 // the root value, without white space around it
    std::vector<json_member> members; // of the outermost object, in order; empty for another root
    std::vector<json_long_string> longs;

    // The member of this (unescaped) name, nullptr if there is none.
    [[nodiscard]] const json_member* find(std::string_view key) const;
};

// Usage: feed() every block in order, finish() once. An error is sticky: later calls repeat it. Any split of
// the body leads to the same index or the same error.
//   errors   invalid_json   grammar, bytes that are not UTF-8, a byte order mark, depth, tokens, members,
//   duplicate
//                           top-level keys; the text names the byte offset and what was expected there
//            body_too_large plain_bytes or long_bytes passed, or a key beyond long_string
// Escapes of lone surrogates (\ud800) are grammatical and accepted; unescaping turns each into U+FFFD.
class json_scanner
{
public:
    explicit json_scanner(json_limits limits = {});

    [[nodiscard]] result<void> feed(std::string_view block);
    [[nodiscard]] result<json_index> finish();

    // Back to the state after construction, keeping capacity.
    void reset();

    // Bytes fed so far.
    [[nodiscard]] std::uint64_t offset() const { return offset_; }

private:
    enum class state : std::uint8_t {
        value,        // expects a value
        value_or_end, // behind `[`
        key_or_end,   // behind `{`
        key,          // behind `,` of an object
        colon,
        comma_or_end, // behind a value inside a container
        done,         // behind the root value
        literal,      // inside true, false, null
        number_minus,
        number_zero,
        number_int,
        number_dot,
        number_frac,
        number_e,
        number_sign,
        number_exp,
        string, // inside quotes; from here on: states inside a string
        escape, // behind a backslash
        hex,    // inside \uXXXX
        utf8,   // inside a character of several bytes
    };

    // A container that is open.
    struct level
    {
        bool object = false;
        std::size_t keys_before = 0; // size of keys_ without this level's own key
        std::uint64_t index = 0;     // of the current element; arrays only
    };

    struct cursor; // where in the block the scan stands

    // Each returns false after it has set failure_.
    [[nodiscard]] bool scan_structure(cursor& at);
    [[nodiscard]] bool scan_whole_string(cursor& at);
    [[nodiscard]] bool scan_literal(cursor& at);
    [[nodiscard]] bool scan_number(cursor& at);
    [[nodiscard]] bool scan_string(cursor& at);
    [[nodiscard]] const char* plain_run(const cursor& at, const char* stop);
    [[nodiscard]] bool scan_escape(cursor& at);
    [[nodiscard]] bool scan_hex(cursor& at);
    [[nodiscard]] bool scan_utf8(cursor& at);
    [[nodiscard]] bool begin_value(char first, std::uint64_t where);
    [[nodiscard]] bool open(bool object, std::uint64_t where);
    void close(std::uint64_t end);
    void begin_string(bool key, std::uint64_t begin);
    [[nodiscard]] bool end_string(std::uint64_t quote);
    [[nodiscard]] bool end_key(std::uint64_t quote);
    void end_value(std::uint64_t end);
    [[nodiscard]] bool count_token(std::uint64_t where);

    [[nodiscard]] std::uint64_t string_stop() const;
    [[nodiscard]] std::string pointer() const;
    [[nodiscard]] std::string expected() const;

    bool invalid(std::uint64_t where, std::string_view problem);
    bool unexpected_byte(std::uint64_t where, char found);
    bool too_large(std::uint64_t where, std::string_view what, std::uint64_t limit, std::string_view key);

    json_limits limits_;
    state state_ = state::value;
    std::uint64_t offset_ = 0; // of the next block
    std::uint64_t tokens_ = 0;
    boost::container::small_vector<level, 8> levels_;
    std::string keys_; // the keys on the path to here as they were written, one behind the other

    // The string being scanned.
    bool in_key_ = false;
    bool escaped_ = false;
    bool high_surrogate_ = false; // the last character was an escaped high surrogate
    std::uint8_t padding_ = 0;
    std::uint8_t hex_left_ = 0;
    std::uint16_t hex_value_ = 0;
    std::uint64_t string_begin_ = 0; // behind the opening quote
    std::uint64_t removed_ = 0;
    plain_base64 base64_;
    std::string head_; // its first bytes, kept once it does not end in the block in which it began

    // The character of several bytes, the literal being scanned.
    std::uint8_t utf8_left_ = 0;
    unsigned char utf8_low_ = 0; // bounds of the next byte
    unsigned char utf8_high_ = 0;
    std::uint64_t utf8_begin_ = 0;
    std::string_view literal_rest_;

    std::uint64_t long_total_ = 0;                 // bytes of long strings so far, unescaped
    std::uint64_t long_raw_ = 0;                   // the same as they were written
    std::set<std::string, std::less<>> seen_keys_; // only once there are many members
    std::optional<failure> failure_;
    json_index found_;
};

} // namespace gw::wire
