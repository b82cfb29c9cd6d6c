// Every place and every length around the sixteen that are looked at together, beside std::string_view::find.
#include "wire/find_key.hpp"

#include <gtest/gtest.h>

#include <string>

namespace gw::wire {
namespace {

constexpr std::string_view key = "\"usage\"";

TEST(find_key, finds_it_at_every_place)
{
    for (std::size_t size = 0; size < 80; ++size) {
        const std::string without(size, '"'); // a first and a last byte everywhere
        EXPECT_EQ(find_key(without, key), std::string_view::npos) << size;
        for (std::size_t at = 0; at <= size; ++at) {
            std::string text = without;
            text.insert(at, key);
            for (const std::size_t from : {std::size_t{0}, at / 2, at, at + 1, text.size()}) {
                EXPECT_EQ(find_key(text, key, from), text.find(key, from))
                    << size << ' ' << at << ' ' << from;
            }
            text[at + 3] = 'x';
            EXPECT_FALSE(has_key(text, key)) << size << ' ' << at;
        }
    }
}

TEST(find_key, finds_the_first_of_several)
{
    std::string text(40, '.');
    text.append(key).append(key).append(30, '.').append(key);
    EXPECT_EQ(find_key(text, key), 40U);
    EXPECT_EQ(find_key(text, key, 41), 47U);
    EXPECT_EQ(find_key(text, key, 48), 84U);
    EXPECT_EQ(find_key(text, key, 85), std::string_view::npos);
}

TEST(find_key, takes_a_word_of_two_bytes)
{
    EXPECT_EQ(find_key(std::string(50, 'a') + "ab" + std::string(50, 'b'), "ab"), 50U);
}

} // namespace
} // namespace gw::wire
