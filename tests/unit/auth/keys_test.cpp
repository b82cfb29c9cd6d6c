#include "auth/keys.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

namespace gw::auth {
namespace {

TEST(keys, look_as_sdks_want_them)
{
    const auto made = keygen();
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(made->key.size(), 43U);
    EXPECT_TRUE(made->key.starts_with("hf_"));
    EXPECT_TRUE(std::ranges::all_of(made->key.substr(3), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }));
    EXPECT_EQ(made->line, digest_of(made->key));
    EXPECT_EQ(made->line.size(), 7U + 64U);
}

TEST(keys, digests)
{
    EXPECT_EQ(digest_of("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256("abc").size(), 32U);
}

// Every letter is as likely as any other: chi-squared over 62 letters, 61 degrees of freedom. 120 is exceeded
// by chance once in 100,000 runs; taking bytes modulo 62 without throwing any away would give about 1,900
// here.
TEST(keys, letters_are_unbiased)
{
    std::array<int, 256> count{};
    std::set<std::string> all;
    constexpr int keys = 5'000;
    for (int i = 0; i < keys; ++i) {
        const auto made = keygen();
        ASSERT_TRUE(made.has_value());
        all.insert(made->key);
        for (const char c : made->key.substr(3)) {
            ++count[static_cast<unsigned char>(c)];
        }
    }
    EXPECT_EQ(all.size(), static_cast<std::size_t>(keys));
    const double expected = keys * 40 / 62.0;
    double sum = 0;
    int letters = 0;
    for (const int n : count) {
        if (n > 0) {
            ++letters;
            sum += (n - expected) * (n - expected) / expected;
        }
    }
    EXPECT_EQ(letters, 62);
    EXPECT_LT(sum, 120.0);
}

} // namespace
} // namespace gw::auth
