#include "wire/base64_letters.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace gw::wire {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string letters(std::size_t size)
{
    std::string made(size, 'A');
    for (std::size_t at = 0; at < size; ++at) {
        made[at] = alphabet[at * 7 % alphabet.size()];
    }
    return made;
}

// Every kernel that this machine runs, on text that is followed by more letters, which are none of its own.
void expect_skip(std::string_view text, std::size_t right, const std::string& why)
{
    for (const auto* kernel : letters_kernels()) {
        const char* const found = kernel->skip(text.data(), text.data() + text.size());
        ASSERT_EQ(static_cast<std::size_t>(found - text.data()), right) << kernel->name << ": " << why;
    }
}

TEST(base64_letters, the_portable_kernel_is_always_there)
{
    EXPECT_STREQ(letters_kernels().back()->name, "portable");
}

TEST(base64_letters, every_byte_in_every_place_of_the_blocks)
{
    for (int value = 0; value < 256; ++value) {
        const char byte = static_cast<char>(value);
        const bool letter = byte != '\0' && alphabet.contains(byte);
        std::string text = letters(600);
        for (const std::size_t at : {0U, 1U, 31U, 32U, 63U, 64U, 127U, 128U, 200U, 255U, 256U, 511U, 599U}) {
            const char before = text[at];
            text[at] = byte;
            expect_skip(text, letter ? text.size() : at, std::to_string(value) + " at " + std::to_string(at));
            text[at] = before;
        }
    }
}

TEST(base64_letters, every_length_and_place_around_the_edges_of_blocks)
{
    const std::string text = letters(700);
    for (std::size_t begin = 0; begin < 70; begin += 3) {
        for (std::size_t size = 0; begin + size < text.size(); ++size) {
            expect_skip(
                std::string_view(text).substr(begin, size),
                size,
                std::to_string(size) + " from " + std::to_string(begin)
            );
        }
    }
    for (std::size_t at = 0; at < text.size(); ++at) {
        for (const char wrong : {'=', '"', '\\', '-', '\x80', '\xc1', '\0'}) {
            std::string changed = text;
            changed[at] = wrong;
            expect_skip(changed, at, std::to_string(at));
            // A second one behind it, in the same block or not, changes nothing.
            changed[std::min(at + 40, text.size() - 1)] = wrong;
            expect_skip(changed, at, std::to_string(at) + " of two");
        }
    }
}

} // namespace
} // namespace gw::wire
