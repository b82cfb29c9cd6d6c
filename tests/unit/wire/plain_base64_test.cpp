#include "wire/plain_base64.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace gw::wire {
namespace {

std::optional<std::uint64_t> slowly(std::string_view text, std::uint64_t from)
{
    bool padded = false;
    for (std::size_t at = from; at < text.size(); ++at) {
        const char c = text[at];
        const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                           c == '+' || c == '/';
        padded = padded || c == '=';
        if (padded ? c != '=' : !plain) {
            return at;
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> in_pieces(std::string_view text, std::uint64_t from, std::size_t piece)
{
    plain_base64 judge;
    judge.begin(from);
    for (std::size_t at = 0; at < text.size(); at += piece) {
        judge.text(text.substr(at, piece), at);
    }
    return judge.fault();
}

TEST(plain_base64, knows_every_byte)
{
    for (int value = 0; value < 0x80; ++value) {
        const std::string text = std::string(70, 'A') + static_cast<char>(value) + std::string(70, 'z');
        EXPECT_EQ(in_pieces(text, 0, text.size()), slowly(text, 0)) << value;
    }
}

TEST(plain_base64, the_same_in_any_pieces)
{
    std::mt19937 random(7); // NOLINT: the same each time
    constexpr std::string_view alphabet = "ABYZabyz0189+/";
    for (int n = 0; n < 300; ++n) {
        std::string text(random() % 300, 'A');
        for (char& each : text) {
            each = alphabet[random() % alphabet.size()];
        }
        if (!text.empty() && n % 3 != 0) {
            text[random() % text.size()] = "=*-_ \n"[random() % 6];
        }
        text += std::string(random() % 3, '=');
        const std::uint64_t from = random() % 100;
        const auto right = slowly(text, from);
        for (const std::size_t piece : {1U, 2U, 63U, 64U, 65U, 1000U}) {
            ASSERT_EQ(in_pieces(text, from, piece), right) << text << " from " << from << " by " << piece;
        }
    }
}

} // namespace
} // namespace gw::wire
