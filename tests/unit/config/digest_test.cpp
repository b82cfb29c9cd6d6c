#include "config/digest.hpp"

#include <gtest/gtest.h>

namespace gw::config {
namespace {

// Vectors of FIPS 180-4's examples.
TEST(digest, sha256)
{
    EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(to_hex(sha256("abc")), to_hex(sha256("abc"))) << "the context is reused";
}

TEST(digest, lines_of_a_policy)
{
    const std::string hex = to_hex(sha256("abc"));
    EXPECT_EQ(parse_digest("sha256:" + hex), sha256("abc"));
    std::string upper = hex;
    for (char& c : upper) {
        c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    EXPECT_EQ(parse_digest("sha256:" + upper), sha256("abc"));
    EXPECT_FALSE(parse_digest(hex).has_value());
    EXPECT_FALSE(parse_digest("sha256:" + hex + "0").has_value());
    EXPECT_FALSE(parse_digest("sha256:" + hex.substr(1)).has_value());
    EXPECT_FALSE(parse_digest("sha256:g" + hex.substr(1)).has_value());
    EXPECT_FALSE(parse_digest("").has_value());
}

TEST(digest, parts_do_not_run_together)
{
    EXPECT_EQ(hash_of({"a", "b"}), hash_of({"a", "b"}));
    EXPECT_NE(hash_of({"ab", ""}), hash_of({"a", "b"}));
    EXPECT_NE(hash_of({"a"}), hash_of({"a", ""}));
}

} // namespace
} // namespace gw::config
