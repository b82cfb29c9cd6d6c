#include "dispatch/leak_search.hpp"

#include <gtest/gtest.h>

#include <random>

namespace gw::dispatch {
namespace {

constexpr std::string_view token = "hf_AbCdEfGhIjKlMnOp";

secret_set of(std::initializer_list<std::string_view> all)
{
    secret_set made;
    for (const auto& each : all) {
        made.add(each);
    }
    return made;
}

// What went on of these pieces; `leaked` at its end when the search stopped there.
std::string through(leak_search& search, const std::vector<std::string_view>& pieces)
{
    std::string out;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto passed = search.feed(pieces[i], i + 1 == pieces.size());
        if (passed.leaked) {
            return out + " leaked";
        }
        out.append(passed.first).append(passed.second);
    }
    return out;
}

TEST(secret_set, finds_a_token_wherever_it_stands)
{
    const auto ours = of({token});
    for (const std::string_view before : {"", "h", "hf_", "hf_AbCdEfGhIjKlMnO", "{\"error\":\"Bearer "}) {
        for (const std::string_view after : std::vector<std::string_view>{"", "h", "x", token.substr(0, 8)}) {
            EXPECT_TRUE(ours.in(std::string(before).append(token).append(after))) << before;
        }
    }
    for (std::size_t at = 0; at < token.size(); ++at) {
        std::string other(token);
        other[at] = '.';
        EXPECT_FALSE(ours.in(other)) << other;
        EXPECT_FALSE(ours.in(token.substr(0, at)));
    }
    EXPECT_FALSE(ours.in(""));
}

TEST(secret_set, finds_each_of_a_pool)
{
    for (const auto& ours :
         {of({"hf_first_token", "hf_second_token", "hf_second_tok"}),
          of({"hf_first_token", "sk-another-kind", "hf_second_token"})}) {
        EXPECT_TRUE(ours.in("xxhf_first_token"));
        EXPECT_TRUE(ours.in("hf_hf_second_token"));
        EXPECT_FALSE(ours.in("hf_first_toke hf_second_to"));
    }
    EXPECT_TRUE(of({"hf_first_token", "sk-another-kind"}).in("<sk-another-kind>"));
}

TEST(secret_set, knows_how_urls_and_json_spell_it)
{
    const auto ours = of({"a+b/c=d\"e\\f"});
    EXPECT_TRUE(ours.in("?key=a%2Bb%2Fc%3Dd%22e%5Cf&"));
    EXPECT_TRUE(ours.in(R"({"key":"a+b/c=d\"e\\f"})"));
    EXPECT_TRUE(ours.in(R"({"key":"a+b\/c=d\"e\\f"})"));
    EXPECT_TRUE(ours.in("Bearer a+b/c=d\"e\\f"));
}

TEST(secret_set, looks_for_nothing_that_stands_everywhere)
{
    EXPECT_TRUE(of({"short"}).empty());
    EXPECT_FALSE(of({"short"}).in("short"));
    EXPECT_FALSE(secret_set().in("anything"));
}

// Every cut of a text into three reads finds what the whole holds, and loses no byte of what is clean.
TEST(leak_search, any_split_says_the_same)
{
    const auto ours = of({token, "hf_AbCdEf_another_one"});
    const std::vector<std::string> texts{
        std::string("before ").append(token).append(" after"),
        std::string(token),
        std::string("hf_hf_AbCdEfGhIjKl").append(token).append("."),
        "hf_AbCdEfhf_AbCdEf_another_one",
        "hf_AbCdEf_another_on hf_AbCdEfGhIjKlMnO hf_",
        "nothing here",
        "hf_hf_hf_hf_AbCdEf_hf_AbCdEf",
    };
    for (const auto& text : texts) {
        const bool bad = ours.in(text);
        for (std::size_t one = 0; one <= text.size(); ++one) {
            for (std::size_t two = one; two <= text.size(); ++two) {
                leak_search search(ours);
                const std::string_view all = text;
                const std::string got =
                    through(search, {all.substr(0, one), all.substr(one, two - one), all.substr(two)});
                if (bad) {
                    EXPECT_TRUE(got.ends_with(" leaked")) << text << " at " << one << " and " << two;
                    EXPECT_FALSE(ours.in(got));
                    EXPECT_TRUE(got.size() < 7 || text.starts_with(got.substr(0, got.size() - 7)));
                } else {
                    EXPECT_EQ(got, text) << "at " << one << " and " << two;
                }
            }
        }
    }
}

TEST(leak_search, byte_by_byte)
{
    const auto ours = of({token});
    const std::string text = std::string("xx hf_AbC yy ").append(token);
    leak_search search(ours);
    std::string out;
    bool leaked = false;
    for (std::size_t i = 0; i < text.size() && !leaked; ++i) {
        const auto passed = search.feed(std::string_view(text).substr(i, 1));
        leaked = passed.leaked;
        out.append(passed.first).append(passed.second);
    }
    EXPECT_TRUE(leaked);
    EXPECT_EQ(out, "xx hf_AbC yy ") << "not one byte of the token went out";
}

TEST(leak_search, holds_back_no_more_than_the_beginning_of_a_token)
{
    const auto ours = of({token});
    leak_search search(ours);
    const std::string clean(100'000, 'x');
    EXPECT_EQ(search.feed(clean).second.data(), clean.data()) << "the bytes themselves, no copy";
    EXPECT_EQ(search.feed("the ende").second, "the ende");
    EXPECT_EQ(search.feed("the end h").second, "the end ");
    EXPECT_EQ(search.feed("f_").size(), 0U);
    const auto rest = search.feed("x");
    EXPECT_EQ(rest.first, "hf_");
    EXPECT_EQ(rest.second, "x");
    EXPECT_EQ(search.feed("hf_", true).second, "hf_") << "nothing follows";
}

// Against the plain search over the whole, with an alphabet in which tokens overlap themselves and each
// other.
TEST(leak_search, agrees_with_a_search_over_the_whole)
{
    std::mt19937 random(20);
    const auto text = [&random](std::size_t size) {
        std::string made(size, 'a');
        for (char& c : made) {
            c = random() % 3 == 0 ? 'b' : 'a';
        }
        return made;
    };
    int found = 0;
    for (int round = 0; round < 20'000; ++round) {
        secret_set ours;
        for (unsigned n = 1 + random() % 3; n > 0; --n) {
            ours.add(text(8 + random() % 3));
        }
        const std::string whole = text(random() % 60);
        leak_search search(ours);
        std::vector<std::string_view> pieces;
        std::string_view left = whole;
        while (!left.empty()) {
            const std::size_t size = 1 + random() % 9;
            pieces.push_back(left.substr(0, size));
            left.remove_prefix(std::min(size, left.size()));
        }
        pieces.emplace_back();
        const std::string got = through(search, pieces);
        if (ours.in(whole)) {
            ++found;
            ASSERT_TRUE(got.ends_with(" leaked")) << whole;
        } else {
            ASSERT_EQ(got, whole);
        }
    }
    EXPECT_GT(found, 500);
}

} // namespace
} // namespace gw::dispatch
