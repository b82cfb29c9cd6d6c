#include "auth/authenticate.hpp"

#include "auth/keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::auth {
namespace {

config::settings with_clients()
{
    config::settings made;
    made.open = false;
    made.clients.push_back(
        {.name = "search", .key_digests = {sha256("hf_old"), sha256("hf_new")}, .models = {}}
    );
    made.clients.push_back({.name = "web", .key_digests = {sha256("hf_web")}, .models = {}});
    return made;
}

std::string name_of(const result<const config::client*>& from)
{
    return from ? (*from != nullptr ? (*from)->name : "anonymous") : "refused";
}

TEST(authenticate, finds_the_client_of_a_key)
{
    const auto settings = with_clients();
    const key_table now(settings);
    EXPECT_EQ(name_of(authenticate("Bearer hf_old", "", now)), "search");
    EXPECT_EQ(name_of(authenticate("Bearer hf_new", "", now)), "search")
        << "several keys, so that one can be replaced";
    EXPECT_EQ(name_of(authenticate("Bearer hf_web", "", now)), "web");
    EXPECT_EQ(name_of(authenticate("bearer  hf_web ", "", now)), "web")
        << "the scheme's case does not matter";
    EXPECT_EQ(name_of(authenticate("", "hf_web", now)), "web");
    EXPECT_EQ(name_of(authenticate("Basic eDp5", "hf_web", now)), "web") << "no bearer key: X-Api-Key counts";
    EXPECT_EQ(name_of(authenticate("Bearer hf_old", "hf_web", now)), "search")
        << "both: Authorization counts";
    EXPECT_EQ(*authenticate("Bearer hf_web", "", now), &settings.clients[1]);
}

TEST(authenticate, refuses_without_telling_which_part_is_wrong)
{
    const auto settings = with_clients();
    const key_table now(settings);
    const auto wrong = authenticate("Bearer hf_CANARY", "", now);
    ASSERT_FALSE(wrong.has_value());
    EXPECT_EQ(wrong.error().what, code::unauthenticated);
    EXPECT_EQ(wrong.error().http_status(), 401);
    EXPECT_EQ(wrong.error().from, origin::client);
    EXPECT_THAT(wrong.error().text, testing::HasSubstr("Authorization: Bearer"));
    EXPECT_THAT(wrong.error().text + wrong.error().detail, testing::Not(testing::HasSubstr("CANARY")));

    for (const auto* near : {"Bearer hf_we", "Bearer hf_webb", "Bearer HF_WEB", "Bearer hf_web hf_web"}) {
        const auto refused = authenticate(near, "", now);
        ASSERT_FALSE(refused.has_value()) << near;
        EXPECT_EQ(refused.error().text, wrong.error().text);
    }
    // The digest itself is no key, whoever has read the policy.
    EXPECT_FALSE(authenticate("Bearer " + digest_of("hf_web"), "", now).has_value());
    EXPECT_FALSE(authenticate("Bearer " + sha256("hf_web"), "", now).has_value());
    EXPECT_FALSE(authenticate("Bearer " + std::string(100'000, 'x'), "", now).has_value());
    EXPECT_FALSE(authenticate("Bearer hf_web" + std::string(5'000, ' ') + "x", "", now).has_value());

    for (const auto* none :
         {"", "Bearer", "Bearer ", "Bearer    ", "hf_web", "Basic hf_web", "Bearerhf_web"}) {
        const auto refused = authenticate(none, "", now);
        ASSERT_FALSE(refused.has_value()) << none;
        EXPECT_THAT(
            refused.error().text, testing::HasSubstr("no client key: send `Authorization: Bearer KEY`")
        );
    }
}

TEST(last_caller, is_found_again_only_by_the_same_bytes_among_the_same_keys)
{
    const auto settings = with_clients();
    const key_table now(settings);
    last_caller caller;
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(name_of(caller.authenticate("Bearer hf_old", "", now)), "search");
    }
    EXPECT_EQ(name_of(caller.authenticate("Bearer hf_web", "", now)), "web");
    EXPECT_EQ(name_of(caller.authenticate("Bearer hf_we", "b", now)), "refused") << "cut at another place";
    EXPECT_EQ(name_of(caller.authenticate("Bearer hf_web", "", now)), "web");
    EXPECT_EQ(name_of(caller.authenticate("", "", now)), "refused");
    EXPECT_EQ(name_of(caller.authenticate("", "hf_web", now)), "web");

    // After a reload the client may be gone.
    config::settings fewer = with_clients();
    fewer.clients.pop_back();
    EXPECT_EQ(name_of(caller.authenticate("", "hf_web", key_table(fewer))), "refused");
    EXPECT_EQ(name_of(caller.authenticate("", "hf_web", now)), "web");
    config::settings open;
    EXPECT_EQ(name_of(caller.authenticate("", "hf_web", key_table(open))), "anonymous");
}

TEST(authenticate, a_damaged_digest_is_nobodys)
{
    config::settings settings = with_clients();
    settings.clients[0].key_digests = {"", sha256("hf_old").substr(0, 31)};
    const key_table now(settings);
    EXPECT_FALSE(authenticate("Bearer hf_old", "", now).has_value());
    EXPECT_FALSE(authenticate("Bearer ", "", now).has_value());
}

TEST(authenticate, open_means_anonymous)
{
    const config::settings settings;
    const key_table open(settings);
    EXPECT_EQ(name_of(authenticate("", "", open)), "anonymous");
    EXPECT_EQ(name_of(authenticate("Bearer anything", "x", open)), "anonymous");
}

TEST(key_table, finds_each_of_many_and_nobody_else)
{
    for (const std::size_t count : {0U, 1U, 2U, 3U, 1000U}) {
        config::settings settings;
        settings.open = false;
        settings.clients.resize(7);
        for (std::size_t i = 0; i < count; ++i) {
            settings.clients[i % 7].key_digests.push_back(sha256(std::to_string(i)));
        }
        const key_table known(settings);
        for (std::size_t i = 0; i < count; ++i) {
            const std::string digest = sha256(std::to_string(i));
            ASSERT_EQ(known.find(digest), &settings.clients[i % 7]);
            for (const std::size_t byte : {0U, 7U, 8U, 31U}) {
                std::string near = digest;
                near[byte] = static_cast<char>(near[byte] ^ 1);
                ASSERT_EQ(known.find(near), nullptr) << i << " at " << byte;
            }
        }
        EXPECT_EQ(known.find(std::string(32, '\0')), nullptr) << "an empty slot is nobody's key";
        EXPECT_EQ(known.find(""), nullptr);
    }
}

TEST(key_table, keys_that_fall_together_are_told_apart)
{
    config::settings settings;
    settings.open = false;
    settings.clients.resize(5);
    const auto digest = [](std::size_t i) { return std::string(31, 'x') + static_cast<char>(i); };
    for (std::size_t i = 0; i < 5; ++i) {
        settings.clients[i].key_digests.push_back(digest(i));
    }
    const key_table known(settings);
    for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(known.find(digest(i)), &settings.clients[i]);
    }
    EXPECT_EQ(known.find(digest(5)), nullptr);
}

TEST(repeats_key, finds_it_in_a_query)
{
    EXPECT_TRUE(repeats_key("model=a&api_key=gw_key", "Bearer gw_key", ""));
    EXPECT_TRUE(repeats_key("gw_key", "", " gw_key "));
    EXPECT_FALSE(repeats_key("model=a", "Bearer gw_key", ""));
    EXPECT_FALSE(repeats_key("model=a", "", ""));
    EXPECT_FALSE(repeats_key("", "Bearer gw_key", ""));
}

TEST(check_local, only_this_machine_by_its_own_names)
{
    const config::settings open;
    for (const auto* good :
         {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:9", "127.9.9.9:80", "[::1]", "[::1]:8080"}) {
        EXPECT_TRUE(check_local(good, "", open).has_value()) << good;
    }
    for (const auto* bad :
         {"",
          "evil.com",
          "evil.com:8080",
          "localhost.evil.com",
          "127.0.0.1.evil.com:80",
          "[::2]:80",
          "::1",
          "[::1",
          "10.0.0.1:8080",
          "0.0.0.0:8080",
          "localhost@evil.com"}) {
        const auto refused = check_local(bad, "", open);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_EQ(refused.error().what, code::forbidden);
        EXPECT_EQ(refused.error().http_status(), 403);
    }
}

TEST(check_local, a_configured_address_counts)
{
    config::settings now;
    now.listen = {{.at = {.host = "gateway.local", .port = 8080}}};
    EXPECT_TRUE(check_local("Gateway.local:8080", "", now).has_value());
    EXPECT_FALSE(check_local("other.local:8080", "", now).has_value());
}

TEST(check_local, a_web_page_is_refused)
{
    const config::settings open;
    for (const auto* page : {"https://evil.com", "null", "http://localhost:3000"}) {
        const auto refused = check_local("localhost", page, open);
        ASSERT_FALSE(refused.has_value()) << page;
        EXPECT_EQ(refused.error().what, code::forbidden);
    }
}

TEST(check_local, is_for_keyless_listeners)
{
    EXPECT_TRUE(check_local("gateway.company.com", "https://app.company.com", with_clients()).has_value());
}

TEST(admin, asks_for_its_key)
{
    config::settings now;
    EXPECT_TRUE(admin_allowed("", "", now));
    now.admin_key_digest = sha256("gw_admin");
    EXPECT_FALSE(admin_allowed("", "", now));
    EXPECT_FALSE(admin_allowed("Bearer gw_admi", "", now));
    EXPECT_TRUE(admin_allowed("Bearer gw_admin", "", now));
    EXPECT_TRUE(admin_allowed("", "gw_admin", now));
}

} // namespace
} // namespace gw::auth
