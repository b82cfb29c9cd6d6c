#include "wire/plain_base64.hpp"

#include "wire/base64_letters.hpp"

namespace gw::wire {
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

const char* plain_base64::skip(const char* at, const char* end, std::uint64_t offset) const
{
    return faulty_ || padded_ || offset < from_ ? at : skip_base64_letters(at, end);
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
        const char* const begin = characters.data();
        const auto size =
            static_cast<std::size_t>(skip_base64_letters(begin, begin + characters.size()) - begin);
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
