// A file per mistake: tests/data/policy/NAME.yaml, and beside it NAME.expected with every message, exactly.
#include "fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace gw::config {
namespace {

const std::string data = GW_SOURCE_DIR "/tests/data/policy/";

std::vector<std::string> names()
{
    std::vector<std::string> out;
    for (const auto& each : std::filesystem::directory_iterator(data)) {
        if (each.path().extension() == ".yaml") {
            out.push_back(each.path().stem().string());
        }
    }
    std::ranges::sort(out);
    return out;
}

std::vector<std::string> lines_of(const std::string& file)
{
    std::vector<std::string> out;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        out.push_back(line);
    }
    return out;
}

// Messages name whole paths; the files expect them relative to their own folder.
std::vector<std::string> relative(std::vector<std::string> messages)
{
    for (auto& each : messages) {
        for (std::size_t at = each.find(data); at != std::string::npos; at = each.find(data)) {
            each.erase(at, data.size());
        }
    }
    return messages;
}

class mistake : public testing::TestWithParam<std::string>
{
};

TEST_P(mistake, is_told_exactly)
{
    const auto expected = lines_of(data + GetParam() + ".expected");
    ASSERT_FALSE(expected.empty()) << "no " << GetParam() << ".expected";

    const auto made = load_file(data + GetParam() + ".yaml", fake_environment());

    ASSERT_FALSE(made.has_value()) << "this file has a mistake and was accepted";
    EXPECT_THAT(relative(sentences(made)), testing::ElementsAreArray(expected));
    for (const auto& each : sentences(made)) {
        EXPECT_THAT(each, testing::Not(testing::HasSubstr("CANARY"))) << "a secret was printed";
    }
}

INSTANTIATE_TEST_SUITE_P(policies, mistake, testing::ValuesIn(names()), [](const auto& each) {
    return each.param;
});

TEST(mistakes, are_many)
{
    EXPECT_GE(names().size(), 45U);
}

// Whatever is cut off a good file, the answer is settings or problems.
TEST(mistakes, no_prefix_of_a_policy_upsets_the_loader)
{
    std::ifstream in(GW_SOURCE_DIR "/config/examples/full.yaml");
    std::ostringstream all;
    all << in.rdbuf();
    const std::string text = all.str();
    ASSERT_GT(text.size(), 1000U);
    for (std::size_t size = 0; size < text.size(); size += 37) {
        const auto made = load_text(std::string_view(text).substr(0, size), "cut.yaml", fake_environment());
        EXPECT_TRUE(made.has_value() || !made.error().empty()) << size;
    }
}

TEST(mistakes, alias_bombs_and_towers_are_refused_at_once)
{
    std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
    for (char c = 'b'; c < 'k'; ++c) {
        const std::string before(1, static_cast<char>(c - 1));
        bomb += std::string(1, c) + ": &" + c + " [*" + before + ", *" + before + ", *" + before + "]\n";
    }
    EXPECT_THAT(
        sentences(load_text(bomb, "bomb.yaml", fake_environment())),
        testing::ElementsAre(testing::HasSubstr("bomb.yaml:1: anchors"))
    );
    for (const std::string& open :
         {std::string("["), std::string("{a: "), std::string("- "), std::string("? ")}) {
        std::string tower;
        for (int i = 0; i < 20'000; ++i) {
            tower += open;
        }
        EXPECT_EQ(sentences(load_text(tower, "tower.yaml", fake_environment())).size(), 1U) << open;
    }
    EXPECT_THAT(
        sentences(load_text(std::string(20U << 20U, ' '), "big.yaml", fake_environment())),
        testing::ElementsAre("big.yaml: is larger than 16777216 bytes")
    );
}

TEST(mistakes, a_missing_file_is_named)
{
    EXPECT_THAT(
        sentences(load_file("/no/such/policy.yaml", fake_environment())),
        testing::ElementsAre("/no/such/policy.yaml: cannot be read: No such file or directory")
    );
    EXPECT_THAT(
        sentences(load_file("/tmp", fake_environment())),
        testing::ElementsAre(testing::HasSubstr("/tmp: cannot be read: it is a directory"))
    );
}

} // namespace
} // namespace gw::config
