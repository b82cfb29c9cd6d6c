// Base64 as RFC 4648 section 4 has it: standard alphabet, padded, canonical (the unused bits of the last
// character are zero), nothing else between the characters. Streaming: any split of the input gives the same
// output. Pure values; one object serves one stream on one thread.
//
// (The folder's namespace is gw::payloads: gw::payload is the struct of message/request.hpp.)
#pragma once

#include "message/failure.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gw::payloads {

// The exact size of `bytes` bytes as base64.
[[nodiscard]] constexpr std::uint64_t encoded_size(std::uint64_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

class base64_encoder
{
public:
    // What one feed() of n bytes writes at most.
    static constexpr std::size_t max_output(std::size_t n) { return (n + 2) / 3 * 4; }

    // Encodes what is whole; up to two bytes wait for the next call.
    //   returns   characters written to `out`
    //   requires  room for max_output(in.size()) characters at `out`, which does not overlap `in`
    std::size_t feed(std::string_view in, char* out);

    // The last characters with their padding (0 or 4, so room for 4), and back to the start.
    std::size_t finish(char* out);

private:
    std::uint8_t carry_[2] = {};
    std::size_t carried_ = 0;
};

class base64_decoder
{
public:
    static constexpr std::size_t max_output(std::size_t n) { return (n + 3) / 4 * 3; }

    // Decodes what is whole; up to three characters wait for the next call.
    //   returns   bytes written to `out`
    //   errors    invalid_base64 (origin client): a character outside the alphabet (with a hint for the
    //   URL-safe
    //             alphabet, for line breaks and blanks), text behind the padding, misplaced padding, bits
    //             behind the end; the text names the position. An error is sticky
    //   requires  room for max_output(in.size()) bytes at `out`, which does not overlap `in`
    [[nodiscard]] result<std::size_t> feed(std::string_view in, char* out);

    //   errors    invalid_base64: the input ended inside a group of four
    [[nodiscard]] result<void> finish();

    // Characters consumed so far.
    [[nodiscard]] std::uint64_t position() const { return position_; }

private:
    // Decodes one group that may be padded.
    result<std::size_t> last_group(const char* four, std::uint64_t at, char* out);
    std::unexpected<failure> bad(std::string text);

    char carry_[4] = {};
    std::size_t carried_ = 0;
    std::uint64_t position_ = 0;
    bool padded_ = false; // the end was seen: nothing may follow
    std::string error_;   // not empty: sticky
};

// In one go, for strings that are in memory anyway.
[[nodiscard]] std::string encode_base64(std::string_view bytes);
[[nodiscard]] result<std::string> decode_base64(std::string_view text);

} // namespace gw::payloads
