// How a body is described without being held: ranges of a log of received bytes, and plans that say which
// bytes to send. Values only; payload/ executes plans, wire/ finds ranges. Positions are bytes from the start
// of the body.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gw {

// Half open: [begin, end).
struct byte_range
{
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    [[nodiscard]] std::uint64_t size() const { return end - begin; }
    friend bool operator==(const byte_range&, const byte_range&) = default;
};

// One piece of a body to be sent: text of our own, or a range of the source, as it is or re-encoded.
struct piece
{
    enum class how : std::uint8_t {
        literal, // `text`
        copy,    // the range, untouched
        encode,  // the range as base64 (standard alphabet, padded)
        decode,  // the range is base64 text (inside a JSON string): its bytes
    };

    how what = how::literal;
    std::string text;         // literal only
    byte_range from;          // all but literal
    std::uint64_t length = 0; // bytes that this piece yields, exact before one byte of the source has arrived
    bool escaped = false;     // decode: the range holds JSON escapes, undone on the way

    [[nodiscard]] static piece literal(std::string bytes)
    {
        piece made{.what = how::literal, .text = std::move(bytes)};
        made.length = made.text.size();
        return made;
    }
    [[nodiscard]] static piece copy(byte_range range)
    {
        return {.what = how::copy, .from = range, .length = range.size()};
    }
    [[nodiscard]] static piece encode(byte_range range)
    {
        return {.what = how::encode, .from = range, .length = (range.size() + 2) / 3 * 4};
    }
    [[nodiscard]] static piece decode(byte_range range, bool escaped, std::uint64_t decoded_size)
    {
        return {.what = how::decode, .from = range, .length = decoded_size, .escaped = escaped};
    }
};

// What is sent: the pieces in order. Ranges ascend, so that a plan can follow a body that is still arriving.
struct body_plan
{
    std::vector<piece> pieces;

    [[nodiscard]] std::uint64_t length() const
    {
        std::uint64_t sum = 0;
        for (const auto& each : pieces) {
            sum += each.length;
        }
        return sum;
    }
    // True when the plan is one untouched range: pass-through.
    [[nodiscard]] bool pass_through() const
    {
        return pieces.size() == 1 && pieces.front().what == piece::how::copy;
    }
};

} // namespace gw
