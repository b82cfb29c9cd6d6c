// Does a long string hold base64 text and nothing else? Fed with the pieces of the string as they arrive, so
// that a payload which cannot be decoded is refused before an upstream is asked, however large it is. It
// looks at characters and at where padding stands; lengths are for others to judge. Pure; never throws.
//   source   RFC 4648 section 4
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gw::wire {

class plain_base64
{
public:
    // A string begins: what stands before the offset `from` is not looked at.
    void begin(std::uint64_t from);

    // The end of what belongs there of [at, end), which begins at this offset: text() need not hear of that
    // part, and nothing in it ends a run of plain text. `at` where this cannot tell.
    [[nodiscard]] const char* skip(const char* at, const char* end, std::uint64_t offset) const;
    // Its next characters as they are, the first at this offset. REQUIRES offsets rise.
    void text(std::string_view characters, std::uint64_t at);
    // One that was written as an escape, or in several bytes. Beyond ASCII (0x80 stands for all of that) it
    // belongs nowhere, not even before `from`.
    void character(std::uint32_t value, std::uint64_t at);

    [[nodiscard]] std::uint64_t from() const { return from_; }

    // Where the first character stands that does not belong there.
    [[nodiscard]] std::optional<std::uint64_t> fault() const
    {
        return faulty_ ? std::optional(fault_) : std::nullopt;
    }

private:
    void found(std::uint64_t at);

    std::uint64_t from_ = 0;
    std::uint64_t fault_ = 0;
    bool faulty_ = false;
    bool padded_ = false; // nothing but padding may follow
};

} // namespace gw::wire
