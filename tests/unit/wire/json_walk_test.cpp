// Ranges of values inside JSON.
#include "wire/json_walk.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::wire {
namespace {

std::optional<std::string> value(std::string_view document, std::string_view pointer)
{
    const auto range = find_value(document, pointer);
    return range ? std::optional(std::string(document.substr(range->begin, range->size()))) : std::nullopt;
}

TEST(json_walk, the_examples_of_rfc_6901)
{
    constexpr std::string_view document =
        R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8})";
    EXPECT_EQ(value(document, ""), document);
    EXPECT_EQ(value(document, "/foo"), R"(["bar","baz"])");
    EXPECT_EQ(value(document, "/foo/0"), R"("bar")");
    EXPECT_EQ(value(document, "/"), "0");
    EXPECT_EQ(value(document, "/a~1b"), "1");
    EXPECT_EQ(value(document, "/c%d"), "2");
    EXPECT_EQ(value(document, "/e^f"), "3");
    EXPECT_EQ(value(document, "/g|h"), "4");
    EXPECT_EQ(value(document, "/i\\j"), "5");
    EXPECT_EQ(value(document, "/k\"l"), "6");
    EXPECT_EQ(value(document, "/ "), "7");
    EXPECT_EQ(value(document, "/m~0n"), "8");
}

TEST(json_walk, deep_and_spaced)
{
    constexpr std::string_view document =
        " { \"a\" : [ 1 , { \"b\" : [ [ ] , \"}]\\\"\" , -1e5 ] } ] , \"c\" : null } \n";
    EXPECT_EQ(value(document, "/a/1/b/1"), R"("}]\"")");
    EXPECT_EQ(value(document, "/a/1/b/2"), "-1e5");
    EXPECT_EQ(value(document, "/a/1/b/0"), "[ ]");
    EXPECT_EQ(value(document, "/c"), "null");
    EXPECT_EQ(value(document, "")->front(), '{');
    EXPECT_EQ(value(document, "")->back(), '}');
}

TEST(json_walk, nothing_there)
{
    constexpr std::string_view document = R"({"a":[1,2],"b":"text"})";
    for (const std::string_view pointer :
         {"/x", "/a/2", "/a/-", "/a/01", "/a/x", "/a/0/0", "/b/0", "a", "/a/99999999999999999999"}) {
        EXPECT_EQ(value(document, pointer), std::nullopt) << pointer;
    }
}

TEST(json_walk, escaped_keys_are_compared_unescaped)
{
    EXPECT_EQ(value(R"({"predic\u0074ions":1})", "/predictions"), "1");
    EXPECT_EQ(value(R"({"a\/b":1})", "/a~1b"), "1");
}

TEST(json_walk, members)
{
    const auto members = members_of(R"( {"a":1, "b\n": {"c":[2]} ,"d":"x,}"} )");
    ASSERT_TRUE(members);
    ASSERT_EQ(members->size(), 3U);
    EXPECT_EQ((*members)[0].key, "a");
    EXPECT_EQ((*members)[1].key, "b\n");
    EXPECT_EQ((*members)[1].value, R"({"c":[2]})");
    EXPECT_EQ((*members)[2].value, R"("x,}")");
    EXPECT_EQ(members_of("{}")->size(), 0U);
    EXPECT_FALSE(members_of("[1]"));
    EXPECT_FALSE(members_of(""));
    EXPECT_FALSE(members_of("{\"a\":1"));
}

TEST(json_walk, a_member_and_elements)
{
    EXPECT_EQ(member_of(R"( {"a":1, "\u0062": {"c":[2]}} )", "b"), R"({"c":[2]})");
    EXPECT_EQ(member_of(R"({"a":1})", "b"), "");
    EXPECT_EQ(member_of("[1]", "0"), "");
    const auto elements = elements_of(R"( [1, "a,]" ,[2,3],{}] )");
    ASSERT_TRUE(elements);
    EXPECT_EQ(*elements, (std::vector<std::string_view>{"1", R"("a,]")", "[2,3]", "{}"}));
    EXPECT_EQ(elements_of("[]")->size(), 0U);
    EXPECT_FALSE(elements_of("{}"));
    EXPECT_FALSE(elements_of("[1"));
}

TEST(json_walk, what_is_no_json_is_survived)
{
    const std::string document = R"({"a":["b\\\"",{"c":"d"}],"e":1.5e3,"f":true})";
    for (std::size_t size = 0; size <= document.size(); ++size) { // every cut
        const std::string_view cut = std::string_view(document).substr(0, size);
        EXPECT_EQ(find_value(cut, "").has_value(), size == document.size());
        (void)find_value(cut, "/a/1/c");
        (void)members_of(cut);
        (void)elements_of(cut);
        (void)member_of(cut, "a");
        std::string broken(document);
        for (const char c : {'"', '{', ']', '\\', ',', ':'}) { // every byte replaced
            if (size < broken.size()) {
                broken[size] = c;
                (void)find_value(broken, "/a/1/c");
                (void)members_of(broken);
            }
        }
    }
    (void)find_value(std::string(100'000, '['), "/0/0/0"); // no recursion
}

TEST(json_walk, strings)
{
    EXPECT_EQ(string_of(R"("a\u00e9\/")"), "a\xC3\xA9/");
    EXPECT_EQ(string_of("1"), std::nullopt);
    EXPECT_EQ(string_of("\""), std::nullopt);
    EXPECT_EQ(string_of(""), std::nullopt);
    EXPECT_EQ(json_string("a\"b\n"), R"("a\"b\n")");
}

} // namespace
} // namespace gw::wire
