#include "policy/decide.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::policy {
namespace {

TEST(hub_id, as_the_hub_has_it)
{
    for (const std::string& good :
         {std::string("gpt2"),
          std::string("google/vit-base-patch16-224"),
          std::string("a"),
          std::string("0/1"),
          std::string("a.b_c-D"),
          std::string("a-/b_"),
          std::string(96, 'a') + "/" + std::string(96, 'b')}) {
        EXPECT_TRUE(is_hub_id(good)) << good;
    }
    for (const std::string& bad : {std::string(),           std::string("/"),
                                   std::string("a/"),       std::string("/a"),
                                   std::string("a/b/c"),    std::string("-a"),
                                   std::string(".a"),       std::string("_a"),
                                   std::string("a/-b"),     std::string("a..b"),
                                   std::string("a/.."),     std::string("a--b"),
                                   std::string("a/b.git"),  std::string("a b"),
                                   std::string("a\nb"),     std::string("a%2fb"),
                                   std::string("a:b"),      std::string("a@b"),
                                   std::string("a?b"),      std::string("a#b"),
                                   std::string("a\\b"),     std::string("http://169.254.169.254/"),
                                   std::string("//evil/x"), std::string("@evil"),
                                   std::string("evil:80"),  std::string("..%2f.."),
                                   std::string("\u202e"),   std::string("x/../../api/whoami-v2"),
                                   std::string("a\0b", 3),  std::string("\xff\xfe"),
                                   std::string(97, 'a'),    std::string("a/") + std::string(97, 'b'),
                                   std::string(10'240, 'a')}) {
        EXPECT_FALSE(is_hub_id(bad)) << bad;
    }
}

TEST(provider, is_from_a_closed_list)
{
    for (const auto* good :
         {"groq",
          "fal-ai",
          "hf-inference",
          "together",
          "fastest",
          "cheapest",
          "preferred",
          "zai-org",
          "black-forest-labs",
          "featherless-ai",
          "fireworks-ai",
          "wavespeed",
          "baseten"}) {
        EXPECT_TRUE(is_provider(good)) << good;
    }
    for (const auto* bad : {"", "Groq", "80", "evil", "groq ", "groq:groq", "auto", "7b"}) {
        EXPECT_FALSE(is_provider(bad)) << bad;
    }
}

} // namespace
} // namespace gw::policy
