// Helpers for the one property that every scanner has: however the input is split, the verdict is the same.
#pragma once

#include "message/failure.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace gw {

// A failure reads as a sentence in a test's output.
inline void PrintTo(const failure& why, std::ostream* out)
{
    *out << to_string(why.what) << " (" << why.http_status() << "): " << why.text << " [" << why.detail
         << "]";
}

} // namespace gw

namespace gw::wire {

// `\n` becomes CR LF: keeps the literal cases readable.
inline std::string crlf(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        if (c == '\n') {
            out.push_back('\r');
        }
        out.push_back(c);
    }
    return out;
}

// Holds a copy of exactly these bytes on the heap, so that the address sanitizer sees a read past the end.
class exact
{
public:
    explicit exact(std::string_view text) : size_(text.size()), bytes_(new char[text.size()])
    {
        text.copy(bytes_, size_);
    }
    exact(const exact&) = delete;
    exact& operator=(const exact&) = delete;
    ~exact() { delete[] bytes_; }

    [[nodiscard]] std::string_view view() const { return {bytes_, size_}; }

private:
    std::size_t size_;
    char* bytes_;
};

// Feeds every prefix of `bytes` to `scan` (string_view -> result<optional<size_t>>): each must want more or
// say what the whole says, and once a prefix has a verdict every longer one has.
template <class Scan>
void expect_same_for_every_prefix(std::string_view bytes, Scan scan)
{
    const result<std::optional<std::size_t>> whole = scan(bytes);
    bool decided = false;
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        const exact prefix{bytes.substr(0, size)};
        const result<std::optional<std::size_t>> part = scan(prefix.view());
        if (part && !*part) {
            ASSERT_FALSE(decided) << "undecided again after " << size << " bytes of " << bytes;
            continue;
        }
        decided = true;
        ASSERT_EQ(part.has_value(), whole.has_value()) << "after " << size << " bytes of " << bytes;
        if (part) {
            ASSERT_EQ(**part, whole->value_or(0)) << "after " << size << " bytes of " << bytes;
        } else {
            ASSERT_EQ(part.error().what, whole.error().what) << "after " << size << " bytes of " << bytes;
            ASSERT_EQ(part.error().text, whole.error().text) << "after " << size << " bytes of " << bytes;
            ASSERT_EQ(part.error().detail, whole.error().detail) << "after " << size << " bytes of " << bytes;
            ASSERT_EQ(part.error().http_status(), whole.error().http_status());
        }
    }
}

} // namespace gw::wire
