#include "wire/plain_base64.hpp"

namespace gw::wire {
namespace {

constexpr std::size_t stretch = 64;

constexpr bool is_base64(unsigned char c)
{
    const auto letter = static_cast<unsigned char>((c | 0x20U) - 'a');
    const auto digit = static_cast<unsigned char>(c - '0');
    return (letter < 26) | (digit < 10) | (c == '+') | (c == '/');
}

// The first character that is none of the alphabet's, else the end. A stretch at a time, which compilers turn
// into vector code.
std::size_t find_other(std::string_view text)
{
    std::size_t at = 0;
    for (; text.size() - at >= stretch; at += stretch) {
        unsigned char all = 1;
        for (std::size_t i = 0; i < stretch; ++i) {
            all &= static_cast<unsigned char>(is_base64(static_cast<unsigned char>(text[at + i])));
        }
        if (all == 0) {
            break;
        }
    }
    while (at < text.size() && is_base64(static_cast<unsigned char>(text[at]))) {
        ++at;
    }
    return at;
}

} // namespace

void plain_base64::begin(std::uint64_t from)
{
    *this = {};
    from_ = from;
}

void plain_base64::found(std::uint64_t at)
{
    faulty_ = true;
    fault_ = at;
}

void plain_base64::text(std::string_view characters, std::uint64_t at)
{
    if (faulty_ || at + characters.size() <= from_) {
        return;
    }
    if (at < from_) {
        characters.remove_prefix(static_cast<std::size_t>(from_ - at));
        at = from_;
    }
    if (!padded_) {
        const std::size_t size = find_other(characters);
        if (size == characters.size()) {
            return;
        }
        if (characters[size] != '=') {
            return found(at + size);
        }
        padded_ = true;
        characters.remove_prefix(size);
        at += size;
    }
    if (const auto other = characters.find_first_not_of('='); other != std::string_view::npos) {
        found(at + other);
    }
}

void plain_base64::character(std::uint32_t value, std::uint64_t at)
{
    if (value < 0x80) {
        const char c = static_cast<char>(value);
        text({&c, 1}, at);
    } else if (!faulty_) {
        found(at);
    }
}

} // namespace gw::wire
