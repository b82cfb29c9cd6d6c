// Which entry of `models:` applies to a name.
#include "config/settings.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace gw::config {
namespace {

settings with(const std::vector<std::string>& names)
{
    settings made;
    for (const auto& name : names) {
        auto entry = std::make_unique<model_entry>();
        entry->name = name;
        entry->pattern = name.find('*') != std::string::npos;
        entry->literal_prefix = name.substr(0, name.find('*'));
        made.models.push_back(std::move(entry));
    }
    index_models(made);
    return made;
}

std::string found(const settings& in, std::string_view name)
{
    const auto* entry = in.find(name);
    return entry != nullptr ? entry->name : "none";
}

TEST(settings, exact_name_then_alias_then_the_longest_literal_prefix)
{
    settings made =
        with({"*", "google/*", "google/vit-*", "goo*", "google/vit-base", "*-base", "google/*-large", "b*"});
    made.models[4]->aliases = {"vision"};
    index_models(made);

    EXPECT_EQ(found(made, "google/vit-base"), "google/vit-base");
    EXPECT_EQ(found(made, "vision"), "google/vit-base");
    EXPECT_EQ(found(made, "google/vit-large"), "google/vit-*");
    EXPECT_EQ(found(made, "google/bert"), "google/*");
    EXPECT_EQ(found(made, "google/bert-large"), "google/*-large") << "equal prefixes: the longer pattern";
    EXPECT_EQ(found(made, "goofy"), "goo*");
    EXPECT_EQ(found(made, "other-base"), "*-base");
    EXPECT_EQ(found(made, "other"), "*");
    EXPECT_EQ(found(made, "bert"), "b*");
    EXPECT_EQ(found(made, ""), "*");
    EXPECT_EQ(found(with({"google/*"}), "other"), "none");
    EXPECT_EQ(found(with({}), "other"), "none");
}

TEST(settings, a_shorter_prefix_counts_when_the_longer_pattern_does_not_match)
{
    const settings made = with({"a/*", "a/b*x", "a/b*y"});
    EXPECT_EQ(found(made, "a/b-y"), "a/b*y");
    EXPECT_EQ(found(made, "a/b-z"), "a/*");
}

// Ten thousand patterns: a look-up is a few binary searches, not a walk.
TEST(settings, many_patterns_are_quick)
{
    std::vector<std::string> names{"*"};
    for (int i = 0; i < 10'000; ++i) {
        names.push_back("org-" + std::to_string(i) + "/*");
    }
    const settings made = with(names);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 10'000; ++i) {
        ASSERT_EQ(found(made, "org-" + std::to_string(i) + "/m"), "org-" + std::to_string(i) + "/*");
    }
    // A walk would be 10^8 comparisons: tens of seconds in this build.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(settings, names_of_enumerators)
{
    EXPECT_EQ(to_string(kind::serverless), "serverless");
    EXPECT_EQ(to_string(kind::local), "local");
    EXPECT_EQ(to_string(engine::openai), "openai");
    EXPECT_EQ(to_string(payload_form::automatic), "auto");
    EXPECT_EQ(to_string(payload_form::base64), "base64");
}

} // namespace
} // namespace gw::config
