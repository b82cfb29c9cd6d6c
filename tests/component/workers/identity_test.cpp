#include "workers/identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::workers {
namespace {

using testing::ElementsAre;

struct fixture
{
    config::token token{.name = "acme", .value = config::secret("hf_secret"), .hash = 7};
    config::upstream to;

    fixture()
    {
        to.name = "here";
        to.kind = config::kind::local;
        to.tokens = {&token};
        to.run = config::worker{
            .command = {"python3", "worker.py", "--model", "$model", "--port=$port"},
            .env = {{"HF_TOKEN", "$token"}},
            .directory = "/srv",
        };
    }
};

TEST(identity, a_model_stays_one_argument_whatever_it_is_called)
{
    const fixture of;
    for (const std::string model : {"; touch /tmp/pwn", "$(id)", "--flag", "a b\nc", "", "$port", "$model"}) {
        EXPECT_THAT(
            expand_command(identity_of(of.to, model), 81),
            ElementsAre("python3", "worker.py", "--model", model, "--port=81")
        );
    }
}

TEST(identity, placeholders_stand_anywhere_in_an_argument)
{
    fixture of;
    of.to.run->command = {
        "/m/$model.gguf", "$port,$port", "$", "$$port", "$other", "$models", "$token", "a$"
    };
    EXPECT_THAT(
        expand_command(identity_of(of.to, "x/y"), 81),
        ElementsAre("/m/x/y.gguf", "81,81", "$", "$81", "$other", "$models", "$token", "a$")
    );
}

TEST(identity, an_environment_is_six_names_and_what_the_policy_adds)
{
    fixture of;
    of.to.run->env = {{"HF_TOKEN", "$token"}, {"HOME", "/var/cache"}, {"WHERE", "127.0.0.1:$port/$model"}};
    const std::map<std::string, std::string> inherited{
        {"PATH", "/bin"},
        {"HOME", "/root"},
        {"LANG", "C"},
        {"LC_ALL", "C"},
        {"TZ", "UTC"},
        {"TMPDIR", "/t"},
        {"SECRET", "x"}
    };
    EXPECT_THAT(
        expand_environment(identity_of(of.to, "m"), 81, "hf_secret", inherited),
        ElementsAre(
            "HF_TOKEN=hf_secret",
            "HOME=/var/cache",
            "LANG=C",
            "LC_ALL=C",
            "PATH=/bin",
            "TMPDIR=/t",
            "TZ=UTC",
            "WHERE=127.0.0.1:81/m"
        )
    );
}

TEST(identity, changes_with_all_that_makes_a_worker_another_one)
{
    const fixture before;
    const identity who = identity_of(before.to, "m");
    EXPECT_TRUE(is_identity_of(who, before.to, "m"));
    EXPECT_FALSE(is_identity_of(who, before.to, "n"));

    fixture after;
    after.to.run->idle_stop = std::chrono::seconds(5);
    EXPECT_TRUE(is_identity_of(who, after.to, "m")) << "how long it idles makes it no other worker";

    after.to.run->command.emplace_back("--more");
    EXPECT_FALSE(is_identity_of(who, after.to, "m"));
    after = fixture();
    after.to.run->env["A"] = "1";
    EXPECT_FALSE(is_identity_of(who, after.to, "m"));
    after = fixture();
    after.to.run->directory = "/";
    EXPECT_FALSE(is_identity_of(who, after.to, "m"));
    after = fixture();
    after.to.name = "there";
    EXPECT_FALSE(is_identity_of(who, after.to, "m"));
    after = fixture();
    after.to.run.reset();
    EXPECT_FALSE(is_identity_of(who, after.to, "m"));
}

TEST(identity, a_rotated_token_counts_only_where_the_worker_has_it)
{
    fixture of;
    const identity with = identity_of(of.to, "m");
    of.token.hash = 8;
    EXPECT_FALSE(is_identity_of(with, of.to, "m"));

    of.to.run->env = {{"NOTE", "$tokens are not it"}};
    const identity without = identity_of(of.to, "m");
    of.token.hash = 9;
    EXPECT_TRUE(is_identity_of(without, of.to, "m"));
}

TEST(identity, the_first_token_that_is_not_empty_is_the_one)
{
    fixture of;
    const config::token empty{.name = "off"};
    of.to.tokens = {&empty, &of.token};
    EXPECT_EQ(token_of(of.to), &of.token);
    of.to.tokens = {&empty};
    EXPECT_EQ(token_of(of.to), nullptr);
}

TEST(identity, a_policy_names_workers_for_literal_models_only)
{
    config::settings policy;
    policy.upstreams.push_back(std::make_unique<config::upstream>(fixture().to));
    policy.upstreams.push_back(std::make_unique<config::upstream>(config::upstream{.name = "router"}));
    const config::upstream* here = policy.upstreams[0].get();
    const config::upstream* router = policy.upstreams[1].get();
    const auto entry = [&](std::string name, bool pattern, std::vector<config::route_entry> route) {
        policy.models.push_back(std::make_unique<config::model_entry>(
            config::model_entry{.name = std::move(name), .pattern = pattern, .route = std::move(route)}
        ));
    };
    entry("org/a", false, {{.to = router}, {.to = here}});
    entry("b", false, {{.to = here, .model = "org/b"}, {.to = here, .model = "org/a"}});
    entry("org/*", true, {{.to = here}, {.to = here, .model = "served"}});

    std::vector<std::string> models;
    for (const named_worker& each : workers_of(policy)) {
        EXPECT_EQ(each.to, here);
        models.push_back(each.model);
    }
    EXPECT_THAT(models, ElementsAre("org/a", "org/b", "served"));
}

} // namespace
} // namespace gw::workers
